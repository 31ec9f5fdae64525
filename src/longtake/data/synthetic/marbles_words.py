"""What is said of marbles: attributes, captions made of them, and captions held against them."""

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
    """Ground truth and measurement alike; colours in the order of the rainbow."""
    counted = NUMBERS[number - 1] if 1 <= number <= len(NUMBERS) else str(number)
    return {"number": counted, "colours": listed(colours), "ground": ground, "speed": speed}


def caption(truth: dict[str, str], wording: int) -> str:
    """A sentence that is true of the attributes; ``wording`` is any number."""
    one = truth["number"] == "one"
    words = {"marbles": "marble" if one else "marbles", "roll": "rolls" if one else "roll"}
    template = TEMPLATES[wording % len(TEMPLATES)]
    return template.format(tint=TINTS[truth["ground"]], **words, **truth)


def check_caption(sentence: str, seen: dict[str, str]) -> dict[str, bool]:
    """Each word that says something of marbles, and whether it is true of what was seen.

    Args:
        sentence: any caption; words that it leaves out are not missed.
        seen: attributes, as ``describe`` measures them.
    """
    words = _words(sentence)
    shown = {*_words(" ".join(seen.values())), TINTS.get(seen["ground"], "")}
    known = {*NUMBERS, *GROUNDS, *SPEEDS, *TINTS.values(), *COLOURS}
    return {word: word in shown for word in words if word in known}


def listed(words: Sequence[str]) -> str:
    """``red, blue and purple``."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def _words(sentence: str) -> list[str]:
    return "".join(c if c.isalpha() else " " for c in sentence.lower()).split()
