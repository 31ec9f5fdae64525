"""Names, docstrings, messages and documents use the field's terms and plain sentences."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = (
    "tests/foundation/test_plain_words.py",
    "CHANGELOG.md",
    "docs/log.md",
    "benchmarks/revisions/revision_outputs.py",
)
"""These list former names, or write configs in the spelling of model format 1."""

PHRASES = {
    "anew": "again",
    "told|tells? of": "given, says",
    "hears?": "receives",
    "gravity|gravest": "severity",
    "ruin(?:ed)?": "collapse",
    r"(?<!there\s)(?<!where\s)(?:is|are) no(?!\smore)": "is not a",
    "go(?:es)? on|going on": "continue",
    "likewise": "also",
    "leave(?:s)? away": "omit, drop",
    "so many": "a number",
    "comes? to": "reaches",
    "at hand": "available",
    "of a sudden": "suddenly",
    "for so long": "a number of steps",
}
"""Phrases of the former dialect, as regular expressions, with what stands for them."""

NAMES = {
    "Eyes": "FeatureNetwork",
    r"class\ (?:\w*Side|Looks?|Turn|\w*Course)": "source, preview, StartRule, schedule",
    "looks|look_frames|look_videos": "preview, VideoInfo",
    "Health": "monitor",
    "Deal": "Splits",
    "Hear": "ProgressCallback",
    "Wanted": "FeatureRequest",
    "Draws|DrawClips": "Samplers",
    "EmbeddedWorld": "SyntheticSource",
    "[Ss]tandardis(?:ation|e[sd]?|ing)": "latent scaling, scale_latents",
    "ClipOfLatents": "TrainingClip",
    "KnownFrames(?:Plan)?|with_known|nothing_known": "context frames",
    "let_go": "reshard",
    "redrawn": "bootstrap",
    "loss_kind": "loss",
    "perturbation": "context noise",
    r"posterior_deviation": "std",
    r"(?<![Ss]tandard\s)(?<!\.)deviations?(?![\"=:]|\ \|)": "standard deviation, std",
}
"""Names of the former dialect; the papers' term is conditional latent perturbation, and
``deviation`` is a key in the result files of evaluations and a column of their tables."""


CODE = (".py", ".pyi", ".js")


def files() -> list[Path]:
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [
        ROOT / name
        for name in names.splitlines()
        if name.endswith((*CODE, ".md", ".html", ".yaml", ".toml", "Makefile"))
        and name not in ALLOWED
        and "/format_1/" not in name
        and (ROOT / name).exists()
    ]


TEXTS = {path: path.read_text() for path in files()}


def words(identifier: str) -> str:
    """The words of a name in snake_case or camelCase, apart and in small letters."""
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", identifier).split()).lower()


NAMES_IN_CODE = {
    name
    for path, text in TEXTS.items()
    if path.suffix in CODE
    for name in re.findall(r"\b(?:_\w+|[a-zA-Z]\w*(?:_|[a-z][A-Z])\w*)", text)
}
"""Identifiers of more than one word, and private ones."""
WORDS_IN_CODE = "\n".join(sorted({words(name) for name in NAMES_IN_CODE}))


def found(pattern: str) -> Iterator[str]:
    for path, text in TEXTS.items():
        for match in re.finditer(pattern, text):
            former_key = text[match.start() - 1] == '"' and text[match.end() :].startswith('": ')
            paper_term = text[: match.start()].rstrip(" \n#").endswith("conditional latent")
            if not former_key and not paper_term:
                line = text.count("\n", 0, match.start()) + 1
                yield f"{path.relative_to(ROOT)}:{line}: {match.group()!r}"


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_of_the_old_dialect_does_not_occur(phrase: str):
    spaced = phrase.replace(" ", r"\s+(?:#\s+)?")
    assert list(found(rf"(?i)\b(?:{spaced})\b")) == [], f"write {PHRASES[phrase]!r}"


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_of_the_old_dialect_is_in_no_name(phrase: str):
    inside = rf"(?m)^.*\b(?:{phrase})\b.*$"
    assert re.findall(inside, WORDS_IN_CODE) == [], f"write {PHRASES[phrase]!r}"


def test_names_are_taken_apart():
    assert words("test_a_video_goes_on") == "test a video goes on"
    assert words("goOn") == "go on"
    assert words("_told") == "told"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_old_dialect_does_not_occur(name: str):
    assert list(found(rf"\b(?:{name})\b")) == [], f"write {NAMES[name]!r}"
