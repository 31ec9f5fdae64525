"""Typed configuration: frozen pydantic models, read strictly, with errors that name a path.

Choices are unions of config classes that differ in their ``kind``; ``registry`` defines them.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from longtake.config_messages import SHOWN, classes_in, kind_of, sentences, shortened
from longtake.config_messages import nearest as nearest
from longtake.documents import MAX_DEPTH, DocumentError, parse_yaml, read_yaml

SHORT = 100  # characters of a value that a difference in words shows


class ConfigError(ValueError):
    """A configuration is not valid; the message names the path of the field at fault."""


class Config(BaseModel):
    """A frozen pydantic model that can be written to YAML or JSON and read back equal.

    Attributes:
        renamed: present name of each field that had another name, by its former name. Files of an
            earlier format are read with ``parse(..., upgrade=True)``; elsewhere a former name is an
            error that states the present one.
        own_defaults: fields that get their default again when an override changes another kind of
            config to this one.
        renamed_values: the same for values, by the field's name: present value by former value.
        added: fields that ``identity`` leaves out if they have their default, since hashes were
            made before these fields existed.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )
    renamed: ClassVar[Mapping[str, str]] = {}
    own_defaults: ClassVar[frozenset[str]] = frozenset()
    renamed_values: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    added: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, data: Any, info: Any) -> Any:
        if not isinstance(data, dict):
            return data
        present = {cls.renamed.get(key, key): value for key, value in data.items()}
        for key, values in cls.renamed_values.items():
            if isinstance(present.get(key), str):
                present[key] = values.get(present[key], present[key])
        if (info.context and info.context.get("upgrade")) or present == data:
            return present
        if former := cls.renamed.keys() & data.keys():
            name = min(former)
            raise ValueError(f"the field {name!r} is now called {cls.renamed[name]!r}")
        key = min(key for key in present if present[key] != data[key])
        raise ValueError(f"{key}={data[key]!r} is now called {present[key]!r}")


def load(path: Path, kind: Any, overrides: Sequence[str] = ()) -> Any:
    """Read a config from a YAML file and apply ``a.b=value`` overrides.

    ``kind`` is the config class, or a union of them. Raises a ConfigError if anything is not valid.
    """
    return parse(kind, override(kind, read(path), overrides))


def read(path: Path) -> Any:
    """Read the data of a YAML file, without validation; a ConfigError if it is not a mapping."""
    try:
        data = read_yaml(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except DocumentError as error:
        raise ConfigError(f"{path}: {error}") from error
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping, got {type(data).__name__}")
    return data


def override(kind: Any, data: Any, overrides: Sequence[str]) -> Any:
    """Copy a config's data with ``a.b=value`` overrides applied; values are YAML.

    An override that changes a field ``kind`` drops fields that the new kind does not have, or that
    are in its ``own_defaults``. The argument ``kind`` is the config class, or a union of them.
    Raises a ConfigError for an override of another form.
    """
    data = copy.deepcopy(data)
    pairs = [_pair(text) for text in overrides]
    for path, value in sorted(pairs, key=lambda pair: pair[0][-1] != "kind"):
        node = data
        for key in path[:-1]:
            node = _inner(node, key)
        if not isinstance(node, dict):
            raise ConfigError(
                f"override of {'.'.join(path)}: {'.'.join(path[:-1])} is not a mapping"
            )
        if path[-1] == "kind" and node.get("kind") != value:
            classes = [c for c in _classes_below(kind, path[:-1]) if kind_of(c) == value]
            fields = {
                x
                for c in classes
                for x in c.model_fields.keys() - getattr(c, "own_defaults", frozenset())
            }
            for name in node.keys() - fields if fields else ():
                del node[name]
        node[path[-1]] = value
    return data


def _inner(node: Any, key: str) -> Any:
    """The value of a key in a mapping, to which a missing key is added with an empty mapping.

    None if ``node`` is not a mapping.
    """
    if not isinstance(node, dict):
        return None
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def changed(kind: Any, settings: Any, overrides: Sequence[str]) -> Any:
    """Return a config with ``a.b=value`` overrides applied; a ConfigError if it is not valid.

    ``kind`` is the config class, or a union of them.
    """
    return parse(kind, override(kind, to_dict(settings), overrides))


def parse(kind: Any, data: Any, *, upgrade: bool = False) -> Any:
    """Build a config from JSON data.

    Args:
        kind: config class, or a union of them.
        data: JSON data of the config.
        upgrade: accept the former names of fields, for files of an earlier format.

    Raises:
        ConfigError: the message names the path, the fault and the nearest valid name.
    """
    try:
        return _adapter(kind).validate_python(data, context={"upgrade": upgrade})
    except ValidationError as error:
        raise ConfigError("; ".join(sentences(error.errors(), kind)[:3])) from error


@lru_cache(maxsize=512)
def _adapter(kind: Any) -> Any:  # a TypeAdapter[Any], an annotation that beartype refuses
    """What validates data of a kind; building it takes several times as long as a validation."""
    return TypeAdapter(kind)


def to_dict(config: BaseModel) -> dict[str, Any]:
    """JSON data that ``parse`` reads back to an equal config."""
    return config.model_dump(mode="json")


def identity(config: Config) -> dict[str, Any]:
    """JSON data of a config for hashes: ``to_dict`` without ``added`` fields at their defaults."""
    data = to_dict(config)
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if name in config.added and value == field.default:
            del data[name]
        elif isinstance(value, Config):
            data[name] = identity(value)
    return data


def to_yaml(config: BaseModel) -> str:
    """YAML that ``load`` reads back to an equal config."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def digest(value: Any) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a config or of JSON data."""
    data = to_dict(value) if isinstance(value, BaseModel) else value
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def differences(x: Any, y: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Compare nested JSON data: both values of each leaf that differs, by path, such as ``a.b``.

    If only one of the two has a key, the other's value is the text ``absent``. ``path`` is that of
    ``x`` and ``y`` themselves; empty: they are whole documents.
    """
    if not (isinstance(x, dict) and isinstance(y, dict)):
        return {} if x == y else {path: (x, y)}
    prefix = f"{path}." if path else ""
    found: dict[str, tuple[Any, Any]] = {}
    for key in {**x, **y}:
        found |= differences(x.get(key, "absent"), y.get(key, "absent"), f"{prefix}{key}")
    return found


def describe_differences(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Put a few of ``differences``, and the number of others, into words; empty for none."""
    listed = [_in_words(name, *pair) for name, pair in sorted(changes.items())]
    more = f", and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return f"{', '.join(listed[:SHOWN])}{more}"


def _in_words(name: str, before: Any, now: Any) -> str:
    """One difference of ``differences``, in words: ``fps was 8 and is 25 now``."""
    if before == "absent":
        return f"{name} is new"
    if now == "absent":
        return f"{name} is gone"
    short = max(len(str(value)) for value in (before, now)) <= SHORT
    return f"{name} was {before} and is {now} now" if short else f"{name} has changed"


def plural(count: int, noun: str) -> str:
    """The number and the noun, in the plural unless ``count`` is 1: ``1 video``, ``2 classes``."""
    ending = "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{ending}"


def _pair(text: str) -> tuple[list[str], Any]:
    dotted, equals, value = text.partition("=")
    if not equals or not dotted or dotted.count(".") >= MAX_DEPTH:
        raise ConfigError(f"override {shortened(text)} must have the form a.b=value")
    try:
        return dotted.split("."), parse_yaml(value)
    except DocumentError as error:
        remedy = f"""; put text in quotes, as in '{dotted}="..."'""" if error.__cause__ else ""
        raise ConfigError(f"override {shortened(text)}: {error}{remedy}") from error


def _classes_below(kind: Any, fields: Sequence[str]) -> list[type[BaseModel]]:
    """Config classes of data at a path of fields, also where a field has the name of a kind."""
    found = classes_in(kind)
    for name in fields:
        inner = [each.model_fields[name].annotation for each in found if name in each.model_fields]
        found = [c for field in inner for c in classes_in(field)]
    return found
