"""Attributes and captions of the world ``marbles``."""

from collections.abc import Sequence

NUMBERS = ("one", "two", "three")
GROUNDS = ("wood", "slate", "felt")
SPEEDS = ("slowly", "quickly")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
TINTS = {"wood": "pale", "slate": "grey", "felt": "dark"}

TEMPLATES = (
    "{number} {marbles}, {colours}, rolling {speed} on {tint} {ground}",
    "{number} {marbles} {roll} {speed} on {tint} {ground}: {colours}",
    "{colours} {marbles} rolling {speed} on {ground}",
    "on {tint} {ground}, {number} {marbles} {roll} {speed}: {colours}",
    "{number} {colours} {marbles} on {ground}, rolling {speed}",
)


def attributes(number: int, colours: Sequence[str], ground: str, speed: str) -> dict[str, str]:
    """Attributes by name, true or measured; colours in the order of the rainbow."""
    counted = NUMBERS[number - 1] if 1 <= number <= len(NUMBERS) else str(number)
    return {"number": counted, "colours": listed(colours), "ground": ground, "speed": speed}


def caption(truth: dict[str, str], wording: int) -> str:
    """A sentence with these attributes; ``wording``, any number, chooses a template."""
    one = truth["number"] == "one"
    words = {"marbles": "marble" if one else "marbles", "roll": "rolls" if one else "roll"}
    template = TEMPLATES[wording % len(TEMPLATES)]
    return template.format(tint=TINTS[truth["ground"]], **words, **truth)


def listed(words: Sequence[str]) -> str:
    """Join words as in ``red, blue and purple``."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
