"""Train a small PVDM on synthetic videos, then write a video: a few minutes on a CPU.

    python examples/train_tiny.py --out runs/tiny

Two runs, an autoencoder and a denoiser, each a preset with changes. Interrupted, the same command
continues. The video is runs/tiny/video.mp4: blurred skies.
"""

import argparse
from pathlib import Path

from longtake import VideoModel, VideoWriter, read_run
from longtake.distributed import join
from longtake.run_folder import start
from longtake.runs import Callbacks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/tiny"))
    parser.add_argument("changes", nargs="*", help="of both runs, such as training.steps=100")
    parser.add_argument("--frames", type=int, default=64)
    args = parser.parse_args()

    runs = {
        "autoencoder": read_run("pvdm_demo_autoencoder", args.changes),
        "clips": read_run("pvdm_demo", [*args.changes, f"model={args.out / 'autoencoder'}"]),
    }
    callbacks = Callbacks(training=lambda at: print(at.step, at.steps, at.values["loss"]))
    with join() as ranks:  # one process, or many under torchrun
        for name, run in runs.items():
            start(run, args.out / name, ranks, callbacks)

    model = VideoModel.from_pretrained(args.out / "clips")
    with VideoWriter(args.out / "video.mp4", model.index.fps) as writer:
        for part in model.long_video()(model.request(seeds=[0]), args.frames):
            writer.write(part.frames[0])


if __name__ == "__main__":
    main()
