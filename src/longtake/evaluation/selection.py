"""Which videos of a source a protocol can use, and which clips are cut from them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from longtake.config import digest, plural
from longtake.data.source import ClipPosition, Rejected, VideoSource
from longtake.evaluation.protocols import Protocol, Side
from longtake.evaluation.result import SourceRecord
from longtake.noise import generator
from longtake.video import VideoInfo

RATE_TOLERANCE = 0.01
"""Relative difference up to which two frame rates count as equal, such as 29.97 and 30."""


@dataclass(frozen=True, kw_only=True)
class UsableVideos:
    """The videos of a source that a protocol can use.

    Attributes:
        source: the source.
        protocol: the protocol.
        side: ``real`` or ``generated``; selects among the protocol's settings.
        videos: index of each usable video.
        skipped: number of videos that cannot be used, if the protocol skips such videos.
        height: height of frames in pixels; None if videos differ.
        width: width of frames in pixels; None if videos differ.
        fps: frame rate; None if videos differ or the rate is unknown.
    """

    source: VideoSource
    protocol: Protocol
    side: Side
    videos: tuple[int, ...]
    skipped: int
    height: int | None
    width: int | None
    fps: float | None

    def record(self) -> SourceRecord:
        """Describe the videos as the ``Result`` of an evaluation stores them."""
        return SourceRecord(
            name=self.source.name,
            contents=digest(self.source.contents()),
            videos=len(self.videos),
            skipped=self.skipped,
            height=self.height,
            width=self.width,
            fps=self.fps,
            about=self.source.about(),
        )


def usable_videos(source: VideoSource, protocol: Protocol, side: Side) -> UsableVideos:
    """Check every video of a source; select those that a protocol can use.

    ``side`` says whether they are ``real`` or ``generated``.

    Raises:
        ValueError: a video is broken, too short, or has a size or rate that the protocol refuses.
    """
    infos = source.infos()
    needed = protocol.needed(side)
    usable = {video: info for video, info in enumerate(infos) if info.frames >= needed}
    needs = "spans" if needed == protocol.span(side) else f"of {protocol.name} needs"
    short = ((video, info) for video, info in enumerate(infos) if video not in usable)
    unfit = [*source.rejected()] + [
        Rejected(
            source.title(video), f"has {plural(info.frames, 'frame')}, a clip {needs} {needed}"
        )
        for video, info in short
    ]
    if unfit and (protocol.unfit == "refuse" or not usable):
        total = len(source) + len(source.rejected())
        path, reason = unfit[0]
        remedy = "repair or remove them, or set unfit=skip" if usable else "give other videos"
        raise ValueError(
            f"{source.name}: {len(unfit)} of {total} videos cannot be used, first {path}: "
            f"{reason}; {remedy}"
        )
    distinct = dict({id(info): (video, info) for video, info in usable.items()}.values())
    height, width = _common_size(source, protocol, side, distinct)
    return UsableVideos(
        source=source,
        protocol=protocol,
        side=side,
        videos=tuple(usable),
        skipped=len(unfit),
        height=height,
        width=width,
        fps=_common_rate(source, protocol, distinct),
    )


def choose_clips(
    usable: UsableVideos, *, count: int, draw: int = 0, seed: int = 0
) -> list[ClipPosition]:
    """Choose ``count`` clips of usable videos; choice and order depend on ``seed`` and ``draw``.

    ``draw``, from 0, numbers independent choices from the same videos, as a protocol with ``draws``
    over 1 averages them; clips of two draws may overlap. A smaller ``count`` gives the first of the
    clips of a greater one. Each video gives one clip before any video gives a second. If the
    protocol says so, real clips are in the source's order, or fewer than ``count``.

    Raises:
        ValueError: there are fewer than ``count`` clips, and the protocol refuses that; or a video
            does not hold the clips that it must give one after another.
    """
    source, protocol, side, videos = usable.source, usable.protocol, usable.side, usable.videos
    each, span = protocol.clips_per_video, protocol.span(side)
    if side == "real" and protocol.fewer == "take":
        count = min(count, len(videos) * each)
    if count > len(videos) * each:
        give = "gives" if len(videos) == 1 else "give"
        several = "" if each == 1 else f" at {each} a video"
        raise ValueError(
            f"{source.name}: {plural(len(videos), 'video')} {give} "
            f"{plural(len(videos) * each, 'clip')}{several}, "
            f"{protocol.name} asks for {count}; give more videos, or set a smaller n, which "
            "changes the protocol"
        )

    def position(video: int, repeat: int) -> ClipPosition:
        last_start = source.info(video).frames - span
        if protocol.start(side) == "random":
            random = generator(seed, side, "start", draw, video, repeat)
            return ClipPosition(video, int(torch.randint(last_start + 1, (), generator=random)))
        if repeat * span > last_start:
            raise ValueError(
                f"{source.title(video)}: does not hold {repeat + 1} clips of {span} frames one "
                "after another; set a smaller clips_per_video"
            )
        return ClipPosition(video, repeat * span)

    if side == "real" and protocol.real_order == "sorted":
        order = list(videos)
    else:
        shuffled = torch.randperm(len(videos), generator=generator(seed, side, "order", draw))
        order = [videos[n] for n in shuffled[:count].tolist()]
    return [position(order[n % len(videos)], n // len(videos)) for n in range(count)]


def same_rate(x: float | None, y: float | None) -> bool:
    """Whether two frame rates are equal within 1 %; an unknown rate, None, equals any."""
    return x is None or y is None or abs(x - y) <= RATE_TOLERANCE * max(x, y)


def _common_size(
    source: VideoSource, protocol: Protocol, side: Side, infos: Mapping[int, VideoInfo]
) -> tuple[int, int] | tuple[None, None]:
    """Height and width of all videos; None if they differ and the protocol resizes them.

    A ValueError if the protocol refuses their sizes.
    """
    first = next(iter(infos))
    size = infos[first].height, infos[first].width
    other = next((v for v, info in infos.items() if (info.height, info.width) != size), None)
    wanted = protocol.resolution
    if other is None:
        if side == "generated" and wanted is not None and size != (wanted, wanted):
            raise ValueError(
                f"{source.name}: generated frames are {size[0]} x {size[1]}, {protocol.name} asks "
                f"for {wanted} x {wanted}; set resolution=..., which changes the protocol"
            )
        return size
    if side == "real" and wanted is not None:
        return None, None
    remedy = ", or set resolution=..., which changes the protocol" if side == "real" else ""
    raise ValueError(
        f"{source.name}: frames differ in size: {source.title(first)} has {size[0]} x {size[1]}, "
        f"{source.title(other)} has {infos[other].height} x {infos[other].width}; bring them to "
        f"one size{remedy}"
    )


def _common_rate(
    source: VideoSource, protocol: Protocol, infos: Mapping[int, VideoInfo]
) -> float | None:
    """Frame rate of all videos; None if it is unknown, or differs and the protocol allows that.

    A ValueError if the protocol refuses their rates.
    """
    rates = {v: float(info.fps) if info.rate_known else None for v, info in infos.items()}
    variable = {video for video, info in infos.items() if info.variable_rate}
    first, fps = next(iter(rates.items()))
    other = next((v for v in infos if v in variable or not same_rate(rates[v], fps)), None)
    if other is None or protocol.rates == "any":
        return fps if other is None else None
    fault = f"{source.title(other)} has a variable frame rate"
    if other not in variable:
        theirs = f"{source.title(other)} {rates[other]:g}"
        fault = f"rates differ: {source.title(first)} has {fps:g} frames/s, {theirs}"
    raise ValueError(f"{source.name}: {fault}; bring them to one rate, or set rates=any")
