"""Typed configuration: frozen pydantic models, read strictly, with errors that name a path.

Choices are unions of config classes that differ in their ``kind``; ``registry`` defines them.
"""

import copy
import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from longtake.documents import MAX_DEPTH, DocumentError, parse_yaml, read_yaml

SHOWN, SHORT = 3, 100  # differences that a message names, and characters of a value that it shows

_TYPE = re.compile(r"bool|int|float|str|(constrained|literal|function|tuple|list|dict)[-\[].*")
"""Matches names that pydantic gives to the types of a value, in paths of errors of unions."""


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
            classes = [c for c in _classes_below(kind, path[:-1]) if _tag(c) == value]
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
        raise ConfigError("; ".join(_in_sentences(error.errors(), kind)[:3])) from error


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


def nearest(word: str, options: Sequence[str]) -> str:
    """The text ``did you mean 'x'?``, or a list of all options if none is similar to ``word``.

    Options that begin with ``word`` are the most similar ones.
    """
    if not options:
        return "there are none"
    longer = [option for option in options if option.startswith(word)] if len(word) > 1 else []
    if near := longer[:SHOWN] or difflib.get_close_matches(word, options, n=1):
        return f"did you mean {' or '.join(map(repr, near))}?"
    comma = "; " if any("," in option for option in options) else ", "
    return f"valid are {comma.join(options)}"


def plural(count: int, noun: str) -> str:
    """The number and the noun, in the plural unless ``count`` is 1: ``1 video``, ``2 classes``."""
    ending = "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{ending}"


def _pair(text: str) -> tuple[list[str], Any]:
    dotted, equals, value = text.partition("=")
    if not equals or not dotted or dotted.count(".") >= MAX_DEPTH:
        raise ConfigError(f"override {_short(text)} must have the form a.b=value")
    try:
        return dotted.split("."), parse_yaml(value)
    except DocumentError as error:
        remedy = f"""; put text in quotes, as in '{dotted}="..."'""" if error.__cause__ else ""
        raise ConfigError(f"override {_short(text)}: {error}{remedy}") from error


def _in_sentences(errors: Sequence[Any], kind: Any) -> list[str]:
    """Describe pydantic's errors of a config of ``kind``, one sentence for each wrong value.

    Of a value that may have several types pydantic has an error for each: they are joined, or those
    of fields inside the value are described alone.
    """
    at_value: dict[str, list[Any]] = {}
    for error in errors:
        at_value.setdefault(_value_of(error["loc"], kind), []).append(error)
    return [words for group in at_value.values() for words in _of_one_value(group, kind)]


def _of_one_value(errors: Sequence[Any], kind: Any) -> list[str]:
    inside = [
        e
        for e in errors
        if e["type"] == "value_error" or not _is_type(e["loc"][-1:], kind, e["loc"][:-1])
    ]
    if len(errors) == 1 or inside:
        return [_describe(error, kind) for error in inside or errors]
    *others, last = [words for error in errors for words in _expected(error)]
    place, value = _shown(kind, errors[0]["loc"]), _short(errors[0]["input"])
    return [f"{place}: expected {', '.join(others)} or {last}, got {value}"]


def _expected(error: Any) -> list[str]:
    """What a value of one type could have been, in words."""
    context = error.get("ctx", {})
    match error["type"]:
        case "bool_parsing" | "bool_type":
            return ["true", "false"]
        case "int_parsing" | "int_type" | "int_from_float":
            return ["a whole number"]
        case "greater_than_equal":
            return [f"a number of at least {context['ge']}"]
        case "greater_than":
            return [f"a number above {context['gt']}"]
        case "literal_error":
            return re.split(", | or ", context["expected"])
        case "model_type":
            return ["settings by name"]
        case _:
            return [error["msg"][0].lower() + error["msg"][1:]]


def _value_of(place: Sequence[Any], kind: Any) -> str:
    """Dotted path of the value of several types that an error is in; else of its own value."""
    for number, part in enumerate(place):
        if _is_type([part], kind, place[:number]):
            return _shown(kind, place[:number])
    return _shown(kind, place)


def _is_type(part: Sequence[Any], kind: Any, place: Sequence[Any]) -> bool:
    """Whether a part of an error's path, after ``place``, is the name of one of a value's types.

    ``part`` has one element, or none for an error of the whole.
    """
    if not part or not isinstance(part[0], str):
        return False
    named = {c.__name__ for c in _classes_at(kind, place)}
    return part[0] in named or _TYPE.fullmatch(part[0]) is not None


def _describe(error: Any, kind: Any) -> str:
    """Describe one of pydantic's errors of a config of ``kind`` in our words."""
    place = _shown(kind, error["loc"])
    match error["type"]:
        case "extra_forbidden":
            *parents, key = error["loc"]
            classes = _classes_at(kind, parents)
            fields = sorted({name for c in classes for name in c.model_fields})
            kinds = {tag for c in classes if (tag := _tag(c))}
            advice = nearest(str(key), fields)
            far = len(kinds) == 1 and len(parents) > 1 and advice.startswith("valid")
            of = f" in the kind {next(iter(kinds))!r}" if far else ""
            beside = _classes_at(kind, parents[:-1]) if kinds == {*parents[-1:]} else []
            others = sorted({_tag(c) or "" for c in beside if key in c.model_fields})
            if others and far:
                where = place.rpartition(".")[0] or "config"
                advice = f"set {where}.kind={others[0]}, which has it"
                advice += f", as have {', '.join(others[1:])}" if others[1:] else ""
            return f"{place}: there is no field {key!r}{of}; {advice}"
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


def _shown(kind: Any, place: Sequence[Any]) -> str:
    """Dotted path of fields and indices, without the kinds that pydantic's errors have between."""
    shown = [
        str(part)
        for number, part in enumerate(place)
        if not _of_kind(_classes_at(kind, place[:number]), part)
        and not _is_type([part], kind, place[:number])
    ]
    return ".".join(shown) or "config"


def _of_kind(found: Sequence[type[BaseModel]], part: Any) -> list[type[BaseModel]]:
    """Classes of the union ``found`` whose kind is ``part``; none if there is a single class."""
    return [c for c in found if _tag(c) == part] if len(found) > 1 else []


def _classes_at(kind: Any, place: Sequence[Any]) -> list[type[BaseModel]]:
    """Config classes of data at a path of fields, indices and kinds, as pydantic's errors have."""
    found = _classes(kind)
    for part in place:
        if isinstance(part, str):
            fields = [c.model_fields[part].annotation for c in found if part in c.model_fields]
            inner = [c for field in fields for c in _classes(field)]
            found = _of_kind(found, part) or (found if _TYPE.fullmatch(part) else inner)
    return found


def _classes_below(kind: Any, fields: Sequence[str]) -> list[type[BaseModel]]:
    """Config classes of data at a path of fields, also where a field has the name of a kind."""
    found = _classes(kind)
    for name in fields:
        inner = [each.model_fields[name].annotation for each in found if name in each.model_fields]
        found = [c for field in inner for c in _classes(field)]
    return found


def _classes(kind: Any) -> list[type[BaseModel]]:
    """Config classes in a type, such as a union or a tuple of them."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [found for part in get_args(kind) for found in _classes(part)]


def _tag(each: type[BaseModel]) -> str | None:
    """The ``kind`` of a class, if it has one."""
    return each.model_fields["kind"].default if "kind" in each.model_fields else None
