"""Uploaded files, decoded in a sandbox and written again: nothing else reads what was uploaded."""

import atexit
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from longtake.files import remove
from longtake.studio.settings import Limits
from longtake.video import VideoError, VideoWriter, write_image
from longtake.video.sandbox import Sandbox

SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpg",
    b"\x1aE\xdf\xa3": "mkv",
    b"GIF8": "gif",
}
AT = {4: {b"ftyp": "mp4"}, 8: {b"WEBP": "webp", b"AVI ": "avi"}}
IMAGES = ("png", "jpg", "webp")
PREVIEW = "preview.png"
EXPECTED = "mp4, mov, mkv, webm, avi, gif, png, jpeg or webp"


def suffix_of(data: bytes) -> str:
    """Suffix, without a dot, of a file whose first bytes (16 or more) are ``data``.

    Raises a VideoError if it is neither a video nor an image.
    """
    for signature, suffix in SIGNATURES.items():
        if data.startswith(signature):
            return suffix
    for place, known in AT.items():
        if (found := known.get(data[place : place + 4])) is not None:
            return found
    raise VideoError(f"not a video or an image that is known; expected {EXPECTED}")


def decode_upload(folder: Path, limits: Limits) -> dict[str, Any]:
    """Decode ``folder/original`` and write it again as ``given.png`` or ``given.mkv``.

    Returns JSON data: ``kind`` (``image`` or ``video``), ``width`` and ``height`` in pixels,
    ``frames``, their number, and ``fps`` (None for an image).

    Raises:
        VideoError: the file is not a video or an image, is broken, also where FFmpeg conceals it,
            or is beyond the limits.
    """
    original = folder / "original"
    with original.open("rb") as file:
        head = file.read(16)
    if not head:
        raise VideoError("the upload is empty; choose another file")
    suffix = suffix_of(head)
    named = folder / "original.d" / f"upload.{suffix}"
    named.parent.mkdir()
    original.replace(named)
    image = suffix in IMAGES
    try:
        sandbox = _sandbox()
        shape = _rewrite(sandbox, named.parent if image else named, folder, image, limits)
        if sandbox.damage:
            raise VideoError(f"the upload is damaged ({sandbox.damage[0]})")
        fps = float(sandbox.fps)
    except VideoError as error:
        place = str(named.parent)  # which a client is not to see
        sentence = str(error).replace(str(named), "the upload").replace(place, "the upload")
        raise VideoError(sentence) from error
    finally:
        remove(named.parent)
    frames, height, width = shape
    kind = "image" if image else "video"
    size = {"width": width, "height": height, "frames": frames}
    return {"kind": kind, **size, "fps": None if image else fps}


@cache
def _sandbox() -> Sandbox:
    """The sandbox of this process, which ends with it; a new one takes seconds to start."""
    sandbox = Sandbox()
    atexit.register(sandbox.close)
    return sandbox


def _rewrite(
    sandbox: Sandbox, source: Path, folder: Path, image: bool, limits: Limits
) -> tuple[int, int, int]:
    """Write ``source``, decoded by ``sandbox``, as ``given.png`` if it is an ``image``, else mkv.

    Returns the number of frames, and their height and width.
    """
    chunks = iter(sandbox.frames(source))
    first = next(chunks, None)
    if first is None:
        raise VideoError("the upload has no frames")
    height, width = first.shape[1:3]
    _check(height, width, len(first), limits)
    if image:
        write_image(folder / "given.png", np.ascontiguousarray(first[0]))
        for _ in chunks:  # to its end, after which the sandbox takes the next file
            pass
        return 1, height, width
    _check(height, width, sandbox.stated_frames, limits)
    done = len(first)
    with VideoWriter(folder / "given.mkv", sandbox.fps) as writer:
        writer.write(first)
        for chunk in chunks:
            done += len(chunk)
            _check(height, width, done, limits)
            writer.write(chunk)
    write_image(folder / PREVIEW, np.ascontiguousarray(first[0]))
    return done, height, width


def _check(height: int, width: int, frames: int, limits: Limits) -> None:
    if height * width > limits.upload_pixels:
        raise VideoError(
            f"frames of {height} x {width} pixels are over the limit of "
            f"{limits.upload_pixels} pixels; make it smaller"
        )
    if frames > limits.upload_frames:
        raise VideoError(
            f"the video has over {limits.upload_frames} frames, the limit; cut it to fewer"
        )
