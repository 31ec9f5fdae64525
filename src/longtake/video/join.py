"""Files of one kind joined without decoding them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from longtake.video.errors import VideoError, reading, writing
from longtake.video.timeline import video_stream
from longtake.video.write import FORMATS, move, partial_path, remove


def concatenate(paths: Sequence[Path | str], out: Path | str, *, overwrite: bool = False) -> None:
    """Write files one after another into one; nothing is decoded, so nothing is lost.

    Args:
        paths: files that were written with the same settings.
        out: of the same suffix.
        overwrite: replace what stands there.

    Raises:
        VideoError: no files, one is broken or of another codec or size, ``out`` exists, or the
            disk is full.
    """
    files, out = [Path(path) for path in paths], Path(out)
    if not files:
        raise VideoError(f"{out}: there are no files to join")
    if out.exists() and not overwrite:
        raise VideoError(f"{out} exists; choose another place or pass --overwrite")
    partial = partial_path(out)
    remove(partial)
    options = dict(FORMATS[out.suffix.lower()].container_options)
    with writing(out, partial):
        container = av.open(partial, "w", container_options=options)
        try:
            _append_all(files, container)
        finally:
            container.close()
        move(partial, out)


def _append_all(files: Sequence[Path], container: OutputContainer) -> None:
    with reading(files[0]), av.open(files[0]) as source:
        stream = video_stream(source, files[0])
        container.metadata.update(source.metadata)
        target = container.add_stream_from_template(stream)
        kind, fps = _kind(stream), stream.average_rate or Fraction(1)
    frames = 0
    for path in files:
        with reading(path), av.open(path) as source:
            stream = video_stream(source, path)
            if _kind(stream) != kind:
                raise VideoError(
                    f"{path}: cannot be joined to {files[0]}, it is of another codec, size or rate"
                )
            frames += _append(source, stream, container, target, frames / fps)


def _append(
    source: InputContainer,
    stream: VideoStream,
    container: OutputContainer,
    target: VideoStream,
    start_seconds: Fraction,
) -> int:
    """Copy the packets, to be shown from a time on; returns how many."""
    start = round(start_seconds / (stream.time_base or Fraction(1)))
    first, frames = None, 0
    for packet in source.demux(stream):
        if packet.pts is None or packet.dts is None:
            continue
        first = packet.pts if first is None else first
        packet.pts += start - first
        packet.dts += start - first
        packet.stream = target
        container.mux(packet)
        frames += 1
    return frames


def _kind(stream: VideoStream) -> tuple:
    context = stream.codec_context
    return (
        context.name,
        stream.width,
        stream.height,
        context.pix_fmt,
        context.extradata,
        stream.time_base,
        stream.average_rate,
    )
