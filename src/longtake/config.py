"""Typed configuration: frozen pydantic models, read strictly, with errors that name a path.

A discriminated union on ``kind`` is a registry; ``registry`` holds the unions.
"""

import copy
import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    model_validator,
)

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that does not fit its type; the message names the path of the fault."""


class Config(BaseModel):
    """A frozen value that can be written to YAML or JSON and read back equal.

    Attributes:
        renamed: former name of a field to its present name. Files of an earlier format are read
            with ``parse(..., upgrade=True)``; anywhere else a former name is an error that gives
            the present one.
        renamed_values: former name of a value to its present name, by field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    renamed: ClassVar[Mapping[str, str]] = {}

    renamed_values: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, data: Any, info: Any) -> Any:
        if not isinstance(data, dict):
            return data
        present = {cls.renamed.get(key, key): value for key, value in data.items()}
        for key in cls.renamed_values.keys() & present.keys():
            present[key] = cls.renamed_values[key].get(present[key], present[key])
        if (info.context and info.context.get("upgrade")) or present == data:
            return present
        if former := cls.renamed.keys() & data.keys():
            name = min(former)
            raise ValueError(f"the field {name!r} is now called {cls.renamed[name]!r}")
        key = min(key for key in present if present[key] != data[key])
        raise ValueError(f"{key}={data[key]!r} is now called {present[key]!r}")


def load(path: Path, kind: Any, overrides: Sequence[str] = ()) -> Any:
    """Read a YAML file and apply ``a.b=value`` overrides.

    Raises:
        ConfigError: the file is missing or not valid YAML, or a key or value is not valid.
    """
    return parse(kind, override(kind, read(path), overrides))


def read(path: Path) -> Any:
    """Plain data of a YAML file, without validation."""
    try:
        data = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping, got {type(data).__name__}")
    return data


def override(kind: Any, data: Any, overrides: Sequence[str]) -> Any:
    """Plain data with ``a.b=value`` overrides applied.

    An override that changes a ``kind`` drops fields that the new kind does not have.

    Args:
        kind: the config class, or union, that the data is for.
        data: plain data, which is not modified.
        overrides: texts of the form ``a.b=value``, with the value in YAML.

    Raises:
        ConfigError: an override has another form.
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
        changed = path[-1] == "kind" and node.get("kind") != value
        node[path[-1]] = value
        if changed:
            fields = _fields_at(kind, _tagged(data, path[:-1]))
            for name in node.keys() - fields if fields else ():
                del node[name]
    return data


def _inner(node: Any, key: str) -> Any:
    """The value of a key in a mapping; a missing one becomes an empty mapping."""
    if not isinstance(node, dict):
        return None
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def parse(kind: Any, data: Any, *, upgrade: bool = False) -> Any:
    """Build a config class, or a union of them, from plain data.

    Args:
        kind: the class, or a union of classes.
        data: plain data.
        upgrade: accept the former names of fields, for files of an earlier format.

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


def nearest(word: str, options: Sequence[str]) -> str:
    """``did you mean 'x'?``, or all options if none is similar."""
    if not options:
        return "there are none"
    near = difflib.get_close_matches(word, options, n=1)
    return f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(options)}"


def _pair(text: str) -> tuple[list[str], Any]:
    dotted, equals, value = text.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"override {text!r} must have the form a.b=value")
    try:
        return dotted.split("."), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {text!r}: {value!r} is not a valid YAML value") from error


def _tagged(data: Any, path: Sequence[str]) -> list[str]:
    """A path through plain data, with the kinds of unions, in the form of pydantic's errors."""
    parts = [data["kind"]] if "kind" in data else []
    for key in path:
        data = data[key]
        parts.append(key)
        if isinstance(data, dict) and "kind" in data:
            parts.append(data["kind"])
    return parts


def _describe(error: Any, kind: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "config"
    match error["type"]:
        case "extra_forbidden":
            *parents, key = error["loc"]
            fields = sorted(_fields_at(kind, parents))
            return f"{place}: there is no field {key!r}; {nearest(str(key), fields)}"
        case "union_tag_invalid":
            context = error["ctx"]
            tags = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
            return f"{place}: there is no kind {context['tag']!r}; {nearest(context['tag'], tags)}"
        case "union_tag_not_found":
            return f"{place}.kind: is missing; {_kinds_at(kind, error['loc'])}"
        case "missing":
            return f"{place}: is missing"
        case "value_error":
            return f"{place}: {error['ctx']['error']}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{place}: {message}, got {error['input']!r}"


def _kinds_at(kind: Any, place: Sequence[Any]) -> str:
    options = [option.get("properties", {}) for option in _options_at(kind, place)]
    kinds = [option.get("kind", {}).get("const") for option in options]
    return f"valid are {', '.join(kind for kind in kinds if kind)}"


def _fields_at(kind: Any, place: Sequence[Any]) -> set[str]:
    """Names of the fields that a mapping at an error's path may have."""
    return {name for option in _options_at(kind, place) for name in option.get("properties", {})}


def _options_at(kind: Any, place: Sequence[Any]) -> list[Any]:
    """Schemas that data at an error's path may follow."""
    definitions = TypeAdapter(kind).json_schema()
    nodes = [definitions]
    for part in place:
        nodes = [child for node in nodes for child in _children(node, part, definitions)]
    return [option for node in nodes for option in _alternatives(node, definitions)]


def _children(node: Any, part: Any, definitions: Any) -> Iterator[Any]:
    for alternative in _alternatives(node, definitions):
        properties = alternative.get("properties", {})
        if part in properties:
            yield properties[part]
        if properties.get("kind", {}).get("const") == part:
            yield alternative
        if isinstance(part, int):
            yield alternative.get("items", {})


def _alternatives(node: Any, definitions: Any) -> Iterator[Any]:
    if "$ref" in node:
        node = definitions["$defs"][node["$ref"].rsplit("/", 1)[1]]
    options = [*node.get("anyOf", []), *node.get("oneOf", [])]
    if not options:
        yield node
    for option in options:
        yield from _alternatives(option, definitions)
