"""Frame-exact reading of video files, writing in chunks, and pixels for networks."""

from longtake.video.files import VideoError as VideoError
from longtake.video.pixels import to_model as to_model
from longtake.video.pixels import to_pixels as to_pixels
from longtake.video.read import VideoInfo as VideoInfo
from longtake.video.read import frame_seconds as frame_seconds
from longtake.video.read import frames_from as frames_from
from longtake.video.read import open_video as open_video
from longtake.video.read import probe as probe
from longtake.video.read import read_clip as read_clip
from longtake.video.read import stream_video as stream_video
from longtake.video.sheets import contact_sheet as contact_sheet
from longtake.video.sheets import overview as overview
from longtake.video.sheets import write_image as write_image
from longtake.video.write import VideoWriter as VideoWriter
from longtake.video.write import concatenate as concatenate
