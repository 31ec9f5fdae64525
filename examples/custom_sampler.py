"""Sample with a sampler of your own: DPM-Solver++(2M), of second order (docs/add/sampler.md).

python examples/custom_sampler.py --model lvdm-sky --steps 12 --out multistep.mp4
"""

import argparse
from pathlib import Path
from typing import Literal

import torch

from longtake import Sampler, VideoModel, VideoWriter
from longtake.diffusion.samplers import Walk, clamp
from longtake.diffusion.timesteps import grid_times


class Multistep(Sampler):
    """DPM-Solver++(2M) (Lu et al. 2022): extrapolates the estimates of the last two steps."""

    kind: Literal["multistep"] = "multistep"
    steps: int = 12

    def times(self, schedule):
        return torch.tensor(grid_times("trailing", self.steps), dtype=torch.float64)

    def __call__(self, denoise, z, times, schedule, noise, bounds=None):
        walk = Walk(schedule, times)
        levels = walk.alpha, walk.sigma, walk.alpha_next, walk.sigma_next
        alpha, sigma, alpha_next, sigma_next = (walk.over(x, z) for x in levels)
        length = (walk.alpha_next / walk.sigma_next).log() - (walk.alpha / walk.sigma).log()
        share = torch.cat([torch.zeros_like(length[:1]), length[1:] / length[:-1] / 2])
        share = walk.over(torch.where(walk.sigma_next > 0, share, 0), z)  # 0 where a frame ends
        earlier = torch.zeros_like(z)

        def step(z, t, i):
            nonlocal earlier
            x0 = clamp(denoise(z, t), bounds)
            ahead, earlier = x0 + share[i] * (x0 - earlier), x0
            return alpha_next[i] * ahead + sigma_next[i] / sigma[i] * (z - alpha[i] * ahead)

        return walk(z, noise, torch.zeros_like(walk.alpha), step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lvdm-sky")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("multistep.mp4"))
    args = parser.parse_args()
    model = VideoModel.from_pretrained(args.model)
    sampling = model.index.sampling.model_copy(update={"sampler": Multistep(steps=args.steps)})
    with VideoWriter(args.out, model.index.fps) as writer:
        for part in model.long_video(sampling)(model.request(seeds=[0]), args.frames):
            writer.write(part.frames[0])


if __name__ == "__main__":
    main()
