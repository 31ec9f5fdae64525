"""Typed configuration: frozen pydantic models, read strictly, with errors that name a path.

A discriminated union on ``kind`` is a registry; ``registry`` holds the unions.
"""

import copy
import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from longtake.documents import MAX_DEPTH, DocumentError, parse_yaml, read_yaml

SHOWN, SHORT = 3, 100  # differences that a message names, and characters of a value that it shows


class ConfigError(ValueError):
    """A configuration that does not fit its type; the message names the path of the fault."""


class Config(BaseModel):
    """A frozen value that can be written to YAML or JSON and read back equal.

    Attributes:
        renamed: former name of a field to its present name. Files of an earlier format are read
            with ``parse(..., upgrade=True)``; anywhere else a former name is an error that gives
            the present one.
        own_defaults: fields that are not kept when an override changes another kind to this one.
        renamed_values: former name of a value to its present name, by field.
        added: fields that ``identity`` leaves out at their defaults, as hashes were made before
            they existed.
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
    """Read a YAML file and apply ``a.b=value`` overrides; ConfigError if any of it is not valid."""
    return parse(kind, override(kind, read(path), overrides))


def read(path: Path) -> Any:
    """Plain data of a YAML file, without validation."""
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
    """A copy of plain data for a config class or union, with ``a.b=value`` overrides applied.

    Values are YAML. An override that changes a ``kind`` drops fields that the new kind does not
    have, or that are in its ``own_defaults``. Raises a ConfigError for text of another form.
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
            classes = [c for c in _classes_at(kind, path[:-1]) if _tag(c) == value]
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
    """The value of a key in a mapping; a missing one becomes an empty mapping."""
    if not isinstance(node, dict):
        return None
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def changed(kind: Any, settings: Any, overrides: Sequence[str]) -> Any:
    """Settings of a config class or union, with ``a.b=value`` overrides; ConfigError if invalid."""
    return parse(kind, override(kind, to_dict(settings), overrides))


def parse(kind: Any, data: Any, *, upgrade: bool = False) -> Any:
    """Build a config class, or a union of them, from plain data.

    ``upgrade`` accepts the former names of fields, for files of an earlier format.

    Raises:
        ConfigError: the message names the path, the fault and the nearest valid key.
    """
    try:
        return TypeAdapter(kind).validate_python(data, context={"upgrade": upgrade})
    except ValidationError as error:
        raise ConfigError("; ".join(_describe(e, kind) for e in error.errors()[:3])) from error


def to_dict(config: BaseModel) -> dict[str, Any]:
    """Plain data that ``parse`` reads back to an equal object."""
    return config.model_dump(mode="json")


def identity(config: Config) -> dict[str, Any]:
    """Plain data for hashes: ``to_dict`` without ``added`` fields that have their defaults."""
    data = to_dict(config)
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if name in config.added and value == field.default:
            del data[name]
        elif isinstance(value, Config):
            data[name] = identity(value)
    return data


def to_yaml(config: BaseModel) -> str:
    """YAML that ``load`` reads back to an equal object."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def digest(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of a config or of plain data."""
    data = to_dict(value) if isinstance(value, BaseModel) else value
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def differences(x: Any, y: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Both values of each differing leaf of nested plain data, by its path ``a.b``.

    A key that one side lacks has the value ``absent`` there.
    """
    if not (isinstance(x, dict) and isinstance(y, dict)):
        return {} if x == y else {path: (x, y)}
    prefix = f"{path}." if path else ""
    found: dict[str, tuple[Any, Any]] = {}
    for key in {**x, **y}:
        found |= differences(x.get(key, "absent"), y.get(key, "absent"), f"{prefix}{key}")
    return found


def describe_differences(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """The first of ``differences`` in words, and the number of others; empty if there are none."""
    listed = [_told(name, *pair) for name, pair in sorted(changes.items())]
    more = f", and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return f"{', '.join(listed[:SHOWN])}{more}"


def _told(name: str, before: Any, now: Any) -> str:
    """One difference, in words."""
    if before == "absent":
        return f"{name} is new"
    if now == "absent":
        return f"{name} is gone"
    short = max(len(str(value)) for value in (before, now)) <= SHORT
    return f"{name} was {before} and is {now} now" if short else f"{name} has changed"


def nearest(word: str, options: Sequence[str]) -> str:
    """``did you mean 'x'?``, or all options if none is similar."""
    if not options:
        return "there are none"
    near = difflib.get_close_matches(word, options, n=1)
    return f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(options)}"


def _pair(text: str) -> tuple[list[str], Any]:
    dotted, equals, value = text.partition("=")
    if not equals or not dotted or dotted.count(".") >= MAX_DEPTH:
        raise ConfigError(f"override {_short(text)} must have the form a.b=value")
    try:
        return dotted.split("."), parse_yaml(value)
    except DocumentError as error:
        raise ConfigError(
            f"override {_short(text)}: {_short(value)} is not a valid YAML value"
        ) from error


def _describe(error: Any, kind: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "config"
    match error["type"]:
        case "extra_forbidden":
            *parents, key = error["loc"]
            fields = sorted({name for c in _classes_at(kind, parents) for name in c.model_fields})
            return f"{place}: there is no field {key!r}; {nearest(str(key), fields)}"
        case "union_tag_invalid":
            context = error["ctx"]
            tags = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
            return f"{place}: there is no kind {context['tag']!r}; {nearest(context['tag'], tags)}"
        case "union_tag_not_found":
            tags = [tag for c in _classes_at(kind, error["loc"]) if (tag := _tag(c))]
            return f"{place}.kind: is missing; valid are {', '.join(tags)}"
        case "missing":
            return f"{place}: is missing"
        case "value_error":
            return f"{place}: {error['ctx']['error']}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{place}: {message}, got {_short(error['input'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _classes_at(kind: Any, place: Sequence[Any]) -> list[type[BaseModel]]:
    """Config classes that data may have at a path of fields, indices and kinds, as in errors."""
    found = _classes(kind)
    for part in place:
        if isinstance(part, str):
            fields = [c.model_fields[part].annotation for c in found if part in c.model_fields]
            tagged = [c for c in found if _tag(c) == part]
            found = [c for field in fields for c in _classes(field)] + tagged
    return found


def _classes(kind: Any) -> list[type[BaseModel]]:
    """Config classes in a type, such as a union or a tuple of them."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [found for part in get_args(kind) for found in _classes(part)]


def _tag(each: type[BaseModel]) -> str | None:
    """The ``kind`` of a class, if it has one."""
    return each.model_fields["kind"].default if "kind" in each.model_fields else None
