"""Frame-exact reading of video files, writing in chunks, and pixels for networks."""

from longtake.video.files import VideoError
from longtake.video.pixels import contact_sheet, to_model, to_pixels, write_image
from longtake.video.read import VideoInfo, frame_seconds, open_video, probe, read_clip, stream_video
from longtake.video.write import VideoWriter, concatenate

__all__ = [
    "VideoError",
    "VideoInfo",
    "VideoWriter",
    "concatenate",
    "contact_sheet",
    "frame_seconds",
    "open_video",
    "probe",
    "read_clip",
    "stream_video",
    "to_model",
    "to_pixels",
    "write_image",
]
