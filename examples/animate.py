"""Enlarge a video with sharp pixels, and write it as an animated WebP for a page.

python examples/animate.py out/seed_0000.mp4 --times 4 --fps 16 --out video.webp
"""

import argparse
from pathlib import Path

from PIL import Image

from longtake.video import open_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--times", type=int, default=3, help="pixels a side for each pixel")
    parser.add_argument("--fps", type=float, default=16, help="frames shown in a second")
    parser.add_argument("--quality", type=int, default=60, help="of the WebP, from 0 to 100")
    parser.add_argument("--out", type=Path, default=Path("video.webp"))
    args = parser.parse_args()

    pictures = []
    for frame in open_video(args.video)[0]:  # uint8 (h, w, 3)
        picture = Image.fromarray(frame)
        size = (picture.width * args.times, picture.height * args.times)
        pictures.append(picture.resize(size, Image.Resampling.NEAREST))
    pictures[0].save(
        args.out,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / args.fps),
        loop=0,
        quality=args.quality,
        method=4,
    )
    print(f"{args.out}: {len(pictures)} frames, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
