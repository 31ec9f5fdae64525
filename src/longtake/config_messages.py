"""What is wrong with a config, in sentences, from the errors of pydantic."""

import difflib
import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

SHOWN = 3  # options or differences that a message names

_TYPE = re.compile(r"bool|int|float|str|(constrained|literal|function|tuple|list|dict)[-\[].*")
"""Matches names that pydantic gives to the types of a value, in paths of errors of unions."""


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


def sentences(errors: Sequence[Any], kind: Any) -> list[str]:
    """Describe pydantic's errors of a config of ``kind``, one sentence for each wrong value.

    Of a value that may have several types pydantic has an error for each: they are joined, or those
    of fields inside the value are described alone.
    """
    at_value: dict[str, list[Any]] = {}
    for error in errors:
        at_value.setdefault(_value_of(error["loc"], kind), []).append(error)
    return [words for group in at_value.values() for words in _of_one_value(group, kind)]


def _of_one_value(errors: Sequence[Any], kind: Any) -> list[str]:
    inside = [e for e in errors if e["type"] == "value_error" or not _ends_in_type(kind, e["loc"])]
    if len(errors) == 1 or inside:
        return [_describe(error, kind) for error in inside or errors]
    *others, last = [words for error in errors for words in _expected(error)]
    place, value = _shown(kind, errors[0]["loc"]), shortened(errors[0]["input"])
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
            return [_message(error)]


def _value_of(place: Sequence[Any], kind: Any) -> str:
    """Dotted path of the value of several types that an error is in; else of its own value."""
    ends = (end for end in range(len(place)) if _ends_in_type(kind, place[: end + 1]))
    return _shown(kind, place[: next(ends, len(place))])


def _ends_in_type(kind: Any, place: Sequence[Any]) -> bool:
    """Whether the last part of an error's path is the name of one of the types of its value."""
    if not place or not isinstance(place[-1], str):
        return False
    named = {c.__name__ for c in _classes_at(kind, place[:-1])}
    return place[-1] in named or _TYPE.fullmatch(place[-1]) is not None


def _describe(error: Any, kind: Any) -> str:
    """Describe one of pydantic's errors of a config of ``kind`` in our words."""
    place = _shown(kind, error["loc"])
    match error["type"]:
        case "extra_forbidden":
            *parents, key = error["loc"]
            classes = _classes_at(kind, parents)
            fields = sorted({name for c in classes for name in c.model_fields})
            kinds = {tag for c in classes if (tag := kind_of(c))}
            advice = nearest(str(key), fields)
            far = len(kinds) == 1 and len(parents) > 1 and advice.startswith("valid")
            of = f" in the kind {next(iter(kinds))!r}" if far else ""
            beside = _classes_at(kind, parents[:-1]) if kinds == {*parents[-1:]} else []
            others = sorted({kind_of(c) or "" for c in beside if key in c.model_fields})
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
            tags = [tag for c in _classes_at(kind, error["loc"]) if (tag := kind_of(c))]
            return f"{place}.kind: is missing; valid are {', '.join(tags)}"
        case "missing":
            return f"{place}: is missing"
        case "value_error":
            return f"{place}: {error['ctx']['error']}"
    return f"{place}: {_message(error)}, got {shortened(error['input'])}"


def _message(error: Any) -> str:
    return error["msg"][0].lower() + error["msg"][1:]


def shortened(value: Any) -> str:
    """A value as Python code, cut after 77 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _shown(kind: Any, place: Sequence[Any]) -> str:
    """Dotted path of fields and indices, without the kinds that pydantic's errors have between."""
    shown = [
        str(part)
        for number, part in enumerate(place)
        if not _of_kind(_classes_at(kind, place[:number]), part)
        and not _ends_in_type(kind, place[: number + 1])
    ]
    return ".".join(shown) or "config"


def _of_kind(found: Sequence[type[BaseModel]], part: Any) -> list[type[BaseModel]]:
    """Classes of the union ``found`` whose kind is ``part``; none if there is a single class."""
    return [c for c in found if kind_of(c) == part] if len(found) > 1 else []


def _classes_at(kind: Any, place: Sequence[Any]) -> list[type[BaseModel]]:
    """Config classes of data at a path of fields, indices and kinds, as pydantic's errors have."""
    found = classes_in(kind)
    for part in place:
        if isinstance(part, str):
            fields = [c.model_fields[part].annotation for c in found if part in c.model_fields]
            inner = [c for field in fields for c in classes_in(field)]
            found = _of_kind(found, part) or (found if _TYPE.fullmatch(part) else inner)
    return found


def classes_in(kind: Any) -> list[type[BaseModel]]:
    """Config classes in a type, such as a union or a tuple of them."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [found for part in get_args(kind) for found in classes_in(part)]


def kind_of(each: type[BaseModel]) -> str | None:
    """The ``kind`` of a class, if it has one."""
    return each.model_fields["kind"].default if "kind" in each.model_fields else None
