"""Frame-exact reading of video files, writing in chunks, and pixels for networks.

What needs torch is imported when it is first used, so that the child processes of ``Sandbox``,
which only read videos, start without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from longtake.video.files import VideoError as VideoError
from longtake.video.read import VideoInfo as VideoInfo
from longtake.video.read import frame_seconds as frame_seconds
from longtake.video.read import frames_from as frames_from
from longtake.video.read import open_video as open_video
from longtake.video.read import probe as probe
from longtake.video.read import read_clip as read_clip
from longtake.video.read import stream_video as stream_video

if TYPE_CHECKING:
    from longtake.video.join import concatenate as concatenate
    from longtake.video.pixels import to_model as to_model
    from longtake.video.pixels import to_pixels as to_pixels
    from longtake.video.sheets import contact_sheet as contact_sheet
    from longtake.video.sheets import overview as overview
    from longtake.video.sheets import write_image as write_image
    from longtake.video.write import VideoWriter as VideoWriter

_MODULES = {
    **dict.fromkeys(("to_model", "to_pixels"), "pixels"),
    **dict.fromkeys(("contact_sheet", "overview", "write_image"), "sheets"),
    "VideoWriter": "write",
    "concatenate": "join",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
