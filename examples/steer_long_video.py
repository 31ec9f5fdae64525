"""Change a running video: its first half has one class, its second half another.

    python examples/steer_long_video.py --labels "day, clear, left" "night, overcast, left"

Each part of a video carries the state after it, from which another request can continue. A change
takes effect with the next clip.
"""

import argparse
from pathlib import Path

from longtake import VideoModel, VideoWriter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lvdm-sky")
    parser.add_argument("--labels", nargs=2, default=["day, clear, left", "night, overcast, left"])
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("steered.mp4"))
    args = parser.parse_args()

    model = VideoModel.from_pretrained(args.model)
    video = model.long_video()
    written, state = 0, None
    with VideoWriter(args.out, model.index.fps) as writer:
        for label, end in zip(args.labels, (args.frames // 2, args.frames), strict=True):
            for part in video(model.request(seeds=[0], label=label), args.frames, state):
                frames = part.frames[0, : args.frames - written]
                writer.write(frames)
                written, state = written + len(frames), part.state
                print(f"{written} of {args.frames} frames: {label}")
                if written >= end:  # a change takes effect with the next clip
                    break


if __name__ == "__main__":
    main()
