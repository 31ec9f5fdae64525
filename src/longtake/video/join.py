"""Joins video files that were written with the same settings, without decoding them."""

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from longtake.checkpoint import check_free
from longtake.files import put, remove
from longtake.video.files import VideoError, address, open_stream, partial_path, writing
from longtake.video.write import FORMATS


def concatenate(paths: Sequence[Path | str], out: Path | str, *, overwrite: bool = False) -> int:
    """Join video files that were written with the same settings, without decoding them.

    ``out`` has a suffix of ``VideoWriter``: ``.mp4``, ``.mov``, ``.mkv`` or ``.gif``.

    Returns:
        the number of frames of the result.

    Raises:
        VideoError: there are no paths, ``out`` has another suffix, a file is broken, codecs, sizes
            or rates differ, or the disk is full.
        ExistsError: ``out`` exists and ``overwrite`` is false.
    """
    files, out = [Path(path) for path in paths], Path(out)
    if not files:
        raise VideoError(f"{out}: no files to join; give at least one")
    form = FORMATS.get(out.suffix.lower())
    if form is None:
        raise VideoError(
            f"{out}: unknown format {out.suffix!r} for joined files; valid are {', '.join(FORMATS)}"
        )
    check_free(out, overwrite)
    partial = partial_path(out)
    remove(partial)
    options = dict(form.container_options)
    with writing(out, partial):
        with av.open(address(partial), "w", container_options=options) as container:
            frames = _append_all(files, container)
        put(partial, out)
    return frames


def _append_all(files: Sequence[Path], container: OutputContainer) -> int:
    """Copy the packets of files, one after another, to a container; return the number of frames.

    Raises:
        VideoError: codecs, sizes or rates of the files differ.
    """
    target, kind, fps = None, (), Fraction(1)
    frames, last_dts = 0, -sys.maxsize
    for path in files:
        with open_stream(path) as (source, stream):
            if target is None:
                container.metadata.update(source.metadata)
                target, kind = container.add_stream_from_template(stream), _kind(stream)
                fps = stream.average_rate or fps
            if _kind(stream) != kind:
                raise VideoError(
                    f"{path}: cannot be joined to {files[0]} without decoding, as codec, frame "
                    "size, pixel format, frame rate or settings of the encoder differ; write both "
                    "with the same settings"
                )
            start, first = round(frames / fps / (stream.time_base or Fraction(1))), None
            for packet in source.demux(stream):
                if packet.pts is None or packet.dts is None:
                    continue
                first = packet.pts if first is None else first
                packet.pts += start - first
                # Files may have different decoding delays; dts must increase all the same.
                packet.dts = last_dts = max(packet.dts + start - first, last_dts + 1)
                packet.stream = target
                container.mux(packet)
                frames += 1
    return frames


def _kind(stream: VideoStream) -> tuple[object, ...]:
    codec = stream.codec_context
    size = stream.width, stream.height, codec.pix_fmt
    return codec.name, *size, codec.extradata, stream.time_base, stream.average_rate
