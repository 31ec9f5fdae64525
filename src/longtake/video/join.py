"""Concatenates files of one codec and size without decoding them."""

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from longtake.checkpoint import check_free
from longtake.video.errors import VideoError, reading, writing
from longtake.video.timeline import video_stream
from longtake.video.write import FORMATS, move, partial_path, remove


def concatenate(paths: Sequence[Path | str], out: Path | str, *, overwrite: bool = False) -> None:
    """Concatenate files without decoding, so without loss.

    Args:
        paths: files that were written with the same settings.
        out: file to write, with the same suffix.
        overwrite: replace ``out`` if it exists.

    Raises:
        VideoError: ``paths`` is empty, a file is broken or has another codec, size or rate, or the
            disk is full.
        ExistsError: ``out`` exists.
    """
    files, out = [Path(path) for path in paths], Path(out)
    if not files:
        raise VideoError(f"{out}: no files to join")
    check_free(out, overwrite)
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
        output = _Output(container, container.add_stream_from_template(stream))
        kind, fps = _kind(stream), stream.average_rate or Fraction(1)
    for path in files:
        with reading(path), av.open(path) as source:
            stream = video_stream(source, path)
            if _kind(stream) != kind:
                raise VideoError(
                    f"{path}: cannot be joined to {files[0]}, it has another codec, size or rate"
                )
            output.append(source, stream, fps)


class _Output:
    """An output file, and the state of its timestamps."""

    def __init__(self, container: OutputContainer, target: VideoStream) -> None:
        self._container, self._target = container, target
        self._frames, self._last_dts = 0, -sys.maxsize

    def append(self, source: InputContainer, stream: VideoStream, fps: Fraction) -> None:
        """Copy the packets of a file, to be shown after the earlier ones."""
        start = round(self._frames / fps / (stream.time_base or Fraction(1)))
        first = None
        for packet in source.demux(stream):
            if packet.pts is None or packet.dts is None:
                continue
            first = packet.pts if first is None else first
            packet.pts += start - first
            # Files may have different decoding delays; dts must increase all the same.
            packet.dts = self._last_dts = max(packet.dts + start - first, self._last_dts + 1)
            packet.stream = self._target
            self._container.mux(packet)
            self._frames += 1


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
