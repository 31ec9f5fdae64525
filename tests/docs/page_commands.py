"""Commands that the README and the documentation show: in blocks and in sentences."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    str(path.relative_to(ROOT))
    for path in (
        *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
        *sorted((ROOT / "docs").rglob("*.md")),
    )
)
WHOLE = (
    *("README.md", "docs/add/sampler.md"),
    *(
        f"docs/{page}.md"
        for page in ("tutorial", "evaluate", "reproduce", "given", "text", "recipes")
    ),
)
"""Pages whose fenced commands ``test_documents.py`` carries out, at toy size."""

PROGRAMS = r"longtake|torchrun|python|pip|make|cd"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
INLINE = re.compile(rf"`((?:{PROGRAMS}) [^`]+)`")
TORCHRUN = re.compile(r"torchrun .*? -m longtake\.cli ")


@dataclass(frozen=True)
class Command:
    """A command of a page; ``block`` is False inside a sentence, where names may be left out."""

    page: str
    text: str
    block: bool

    @property
    def words(self) -> list[str]:
        """The words after the program; of torchrun, those of ``longtake``."""
        return shlex.split(TORCHRUN.sub("longtake ", self.text), comments=True)[1:]

    @property
    def program(self) -> str:
        """What is called: ``longtake`` also where torchrun starts it."""
        return TORCHRUN.sub("longtake ", self.text).split()[0]


def fenced(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    found = FENCED.findall((ROOT / page).read_text())
    return [code for kind, code in found if kind == language]


def commands(page: str) -> list[Command]:
    """Commands of a page: of its blocks, but for those that are carried out, and sentences."""
    prose = FENCED.sub("\n", (ROOT / page).read_text())
    own = [] if page in WHOLE else "".join(fenced(page, "bash")).splitlines()
    blocks = [line for line in (*own, *INDENTED.findall(prose)) if line.strip()]
    sentences = INLINE.findall(INDENTED.sub("", prose))
    return [
        *(Command(page, line.strip(), block=True) for line in blocks),
        *(Command(page, " ".join(found.split()), block=False) for found in sentences),
    ]


ALL = tuple(command for page in PAGES for command in commands(page))


def of(program: str, *, block: bool | None = None) -> list[Command]:
    """The commands of a program, each once, of all pages."""
    found = (
        each for each in ALL if each.program == program and (block is None or each.block == block)
    )
    return list({(each.text, each.block): each for each in found}.values())
