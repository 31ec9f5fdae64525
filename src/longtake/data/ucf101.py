"""UCF-101 in its published layout, with the numbers of its official table of classes."""

from pathlib import Path
from typing import Literal

from longtake.data.folders import SplitName, VideosOnDisk
from longtake.data.index import Candidate, Found, existing
from longtake.documents import DocumentError, read_text

_TABLE = """
    ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BaseballPitch
    Basketball BasketballDunk BenchPress Biking Billiards BlowDryHair BlowingCandles
    BodyWeightSquats Bowling BoxingPunchingBag BoxingSpeedBag BreastStroke BrushingTeeth
    CleanAndJerk CliffDiving CricketBowling CricketShot CuttingInKitchen Diving Drumming Fencing
    FieldHockeyPenalty FloorGymnastics FrisbeeCatch FrontCrawl GolfSwing Haircut Hammering
    HammerThrow HandstandPushups HandstandWalking HeadMassage HighJump HorseRace HorseRiding
    HulaHoop IceDancing JavelinThrow JugglingBalls JumpingJack JumpRope Kayaking Knitting LongJump
    Lunges MilitaryParade Mixing MoppingFloor Nunchucks ParallelBars PizzaTossing PlayingCello
    PlayingDaf PlayingDhol PlayingFlute PlayingGuitar PlayingPiano PlayingSitar PlayingTabla
    PlayingViolin PoleVault PommelHorse PullUps Punch PushUps Rafting RockClimbingIndoor
    RopeClimbing Rowing SalsaSpin ShavingBeard Shotput SkateBoarding Skiing Skijet SkyDiving
    SoccerJuggling SoccerPenalty StillRings SumoWrestling Surfing Swing TableTennisShot TaiChi
    TennisSwing ThrowDiscus TrampolineJumping Typing UnevenBars VolleyballSpiking WalkingWithDog
    WallPushups WritingOnBoard YoYo
"""
CLASSES = tuple(_TABLE.split())
"""Names of the classes in the order of the official ``classInd.txt``, which counts from 1."""


class UCF101(VideosOnDisk):
    """UCF-101: ``CLASS/*.avi`` and the official lists ``ucfTrainTestlist/trainlist01.txt``, ...

    The class folders are in ``path``, or in ``UCF-101`` in it; the folder of lists is in one of
    these or beside them. Classes have the numbers of the official ``classInd.txt`` less 1, also if
    that file or some of the classes are not there. ``VideosOnDisk`` describes the other fields.

    Attributes:
        split: ``train`` or ``test``: videos of that official list; ``all``: all videos.
        fold: which of the three official train and test lists is used.
    """

    kind: Literal["ucf101"] = "ucf101"
    split: SplitName = "train"
    fold: Literal[1, 2, 3] = 1

    def found(self) -> Found:
        """Videos of the split, in the order of its official list.

        Raises:
            ValueError: the folder or an official list is missing or not as published, or a folder
                of videos is not a class.
        """
        inner = self.path / "UCF-101"
        root = inner if inner.is_dir() else self.path
        videos = sorted(existing(root).glob("*/*.avi"))
        classes, table = self._classes(root)
        numbers = {name.casefold(): number for number, name in enumerate(classes)}
        labels = {}
        for video in videos:
            name = video.parent.name
            if name.casefold() not in numbers:
                raise ValueError(
                    f"{table} lacks the class of the folder {name!r} in {root}; remove it, or open "
                    "videos of other classes with kind=folder and labels=folder"
                )
            labels[video] = numbers[name.casefold()]
        chosen = videos if self.split == "all" else [root / name for name in self._listed(root)]
        missing = "is in the official list but not on disk"
        candidates = [
            Candidate(path=path, label=labels.get(path), fault=None if path in labels else missing)
            for path in chosen
        ]
        return Found(candidates, f"CLASS/*.avi in {root}", classes)

    def _classes(self, root: Path) -> tuple[tuple[str, ...], str]:
        """Names of the classes, of ``classInd.txt`` if it exists, and their origin for messages."""
        path = self._official(root, "classInd.txt")
        if path is None:
            return CLASSES, "the official table of UCF-101"
        return tuple(line.split()[-1] for line in _lines(path)), f"{path}:"

    def _listed(self, root: Path) -> list[str]:
        name = f"{self.split}list{self.fold:02d}.txt"
        if path := self._official(root, name):
            return [line.split()[0] for line in _lines(path)]
        raise ValueError(
            f"the official list {name} was not found in "
            f"{', '.join(map(str, self._places(root)))}; put the folder ucfTrainTestlist of "
            "UCF-101 there, or set split=all"
        )

    def _official(self, root: Path, name: str) -> Path | None:
        paths = (folder / name for folder in self._places(root))
        return next((path for path in paths if path.is_file()), None)

    def _places(self, root: Path) -> list[Path]:
        parents = dict.fromkeys((root, self.path, root.parent))
        return [parent / inner for parent in parents for inner in ("ucfTrainTestlist", ".")]


def _lines(path: Path) -> list[str]:
    """Lines of an official list that are not blank; a ValueError if it is not UTF-8 text."""
    try:
        return [line for line in read_text(path).splitlines() if line.strip()]
    except DocumentError as error:
        raise ValueError(f"{path}: {error}") from error
