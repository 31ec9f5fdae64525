"""Write one long video from a model, while it is sampled.

python examples/generate.py --model lvdm-sky --frames 256 --out sky.mp4
"""

import argparse
from pathlib import Path

from longtake import VideoModel, VideoWriter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lvdm-sky", help="shipped name, folder, run or hub id")
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sky.mp4"))
    args = parser.parse_args()

    model = VideoModel.from_pretrained(args.model)
    video, request = model.long_video(), model.request(seeds=[args.seed])
    left = args.frames
    with VideoWriter(args.out, model.index.fps) as writer:
        for part in video(request, args.frames):  # memory does not grow with the number of frames
            frames = part.frames[0, :left]  # uint8 (t, h, w, 3)
            writer.write(frames)
            left -= len(frames)
            print(f"{args.frames - left} of {args.frames} frames")


if __name__ == "__main__":
    main()
