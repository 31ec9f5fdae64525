"""Videos with frames that the user gives: first frames, frames to fill between, an end to meet."""

from longtake.given.filled import FilledVideo as FilledVideo
from longtake.given.looped import LoopedVideo as LoopedVideo
from longtake.given.placed import PlacedVideo as PlacedVideo
from longtake.given.placed import ending_with as ending_with
from longtake.given.reading import GivenFrames as GivenFrames
from longtake.given.reading import read_given_image as read_given_image
from longtake.given.reading import read_given_video as read_given_video
from longtake.given.started import StartedVideo as StartedVideo
from longtake.given.wiring import Given as Given
from longtake.given.wiring import Placed as Placed
from longtake.given.wiring import Wired as Wired
from longtake.given.wiring import wired as wired
