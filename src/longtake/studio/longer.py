"""Videos that get longer: what was made for their end alone is made again."""

import json
from pathlib import Path

from longtake.checkpoint import write_text
from longtake.documents import read_json
from longtake.files import remove
from longtake.segments import Segment, keep_whole, record_of
from longtake.studio.places import LENGTH


def to_continue(folder: Path, segments: Path, frames: int) -> list[Segment]:
    """The whole segments of a video, after which it continues up to ``frames`` frames.

    The last segment of a video that has all frames that it was to have was cut to its length, and
    its decoder has ended. If more frames are asked for, it is left out, so that the longer video
    equals one that is made at once.

    Args:
        folder: folder of the job, which keeps the number of frames last asked for.
        segments: folder of the segments, from which all else is removed.
        frames: number of frames that the video is to have.
    """
    found, path = keep_whole(segments), folder / LENGTH
    before = read_json(path)["frames"] if path.exists() else frames
    if found and before <= found[-1].end and before < frames:
        remove(record_of(segments, found[-1].start))
        found = keep_whole(segments)
    if before != frames or not path.exists():
        write_text(path, json.dumps({"frames": frames}) + "\n")
    return found
