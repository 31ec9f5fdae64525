#!/usr/bin/env bash
# kornia 0.9.0: RandomChannelDropout in a VideoSequential changes a few frames of the first video and no other video.
#
# Expected: `VideoSequential` has `same_on_frame=True` by default, "so one draw is shared by every frame of a clip and the
#   clip stays temporally consistent", with another draw for each video. With `RandomChannelDropout(p=1)` every video
#   loses one channel, the same in all its frames.
# Happens: `VideoSequential.forward_parameters` (kornia/augmentation/container/video.py) draws parameters for each video and
#   repeats them for its frames. Those of this augmentation include the numbers of the images that they belong to
#   (`batch_idx`), here numbers of videos; `apply_transform` (channel_dropout.py) uses them as numbers of frames in the
#   flattened batch. So frame i of the first video loses all that was drawn for video i, and the rest stays as it was. For
#   mixup, mosaic and PatchMix such numbers are converted (`_batch_index_param`); this one was left out.
# Seen (4 videos of 6 frames, p=1; channels lost in each frame):
#     same_on_frame=True     first video    1 1 1 1 0 0, not the same channel in all four
#                            other videos   0 0 0 0 0 0
#     same_on_frame=False    every video    1 1 1 1 1 1
#   With a batch of one video only its first frame is changed.
# Consequence: the augmentation is almost absent, and what is left of it is a flicker of colours at the start of one
#   clip in each batch, which `same_on_frame` is there to prevent. A generator trained on such clips learns it.
# Way around: drop the channels of one image of ones per video, `RandomChannelDropout()(ones)`, and multiply all frames of
#   each video by the result.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 kornia==0.9.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from kornia.augmentation import RandomChannelDropout, RandomGrayscale, VideoSequential

VIDEOS, FRAMES = 4, 6


def lost(same_on_frame, videos=VIDEOS):
    """Whether a frame of a video has lost a channel: videos x frames x channels."""
    torch.manual_seed(0)
    augment = VideoSequential(RandomChannelDropout(p=1.0), data_format="BTCHW", same_on_frame=same_on_frame)
    return augment(torch.ones(videos, FRAMES, 3, 8, 8)).amax((3, 4)) == 0


same = lost(True)
print("same_on_frame=True, channels lost in each frame:", same.sum(2).tolist())
print("  which, in the first video:", [frame.nonzero().flatten().tolist() for frame in same[0]])
assert same.sum(2).tolist() == [[1] * VIDEOS + [0] * (FRAMES - VIDEOS)] + [[0] * FRAMES] * (VIDEOS - 1)
assert len({tuple(frame) for frame in same[0, :VIDEOS].tolist()}) > 1
each = lost(False)
print("same_on_frame=False:", each.sum(2).tolist())
assert (each.sum(2) == 1).all()
one = lost(True, videos=1)
print("same_on_frame=True, one video:", one.sum(2).tolist())
assert one.sum(2).tolist() == [[1] + [0] * (FRAMES - 1)]

# Others are as expected: the same in all frames, all videos changed.
torch.manual_seed(0)
grey = VideoSequential(RandomGrayscale(p=1.0), data_format="BTCHW")(torch.rand(VIDEOS, FRAMES, 3, 8, 8))
assert torch.equal(grey[:, :, 0], grey[:, :, 1])

# The way around.
videos = torch.rand(VIDEOS, FRAMES, 3, 8, 8)
mask = RandomChannelDropout(p=1.0)(torch.ones(VIDEOS, 3, 8, 8))[:, None]
gone = (videos * mask).amax((3, 4)) == 0
assert (gone.sum(2) == 1).all() and torch.equal(gone, gone[:, :1].expand_as(gone))
print("as described: only frames of the first video")
PY
