"""Sample with a sampler of your own: Heun's method, of second order (docs/add/sampler.md).

python examples/custom_sampler.py --model lvdm-sky --steps 12 --out heun.mp4
"""

import argparse
from pathlib import Path
from typing import Literal

import torch

from longtake import Sampler, VideoModel, VideoWriter
from longtake.diffusion.samplers import Walk, clamp
from longtake.diffusion.timesteps import grid_times


class Heun(Sampler):
    """An Euler step, repeated with the mean of the slopes at both of its ends."""

    kind: Literal["heun"] = "heun"
    steps: int = 12

    def times(self, schedule):
        return torch.tensor(grid_times("trailing", self.steps), dtype=torch.float64)

    def __call__(self, denoise, z, times, schedule, noise, bounds=None):
        walk = Walk(schedule, times)
        alpha, sigma = walk.over(walk.alpha, z), walk.over(walk.sigma, z)
        alpha_next, sigma_next = walk.over(walk.alpha_next, z), walk.over(walk.sigma_next, z)

        def step(z, t, i):
            x0 = clamp(denoise(z, t), bounds)
            eps = (z - alpha[i] * x0) / sigma[i]
            ahead = alpha_next[i] * x0 + sigma_next[i] * eps
            if i == len(times) - 2:  # no noise is left at the end of the last step
                return ahead
            x0_ahead = clamp(denoise(ahead, times[i + 1].to(z)), bounds)
            eps_ahead = (ahead - alpha_next[i] * x0_ahead) / sigma_next[i]
            return alpha_next[i] * (x0 + x0_ahead) / 2 + sigma_next[i] * (eps + eps_ahead) / 2

        return walk(z, noise, torch.zeros_like(walk.alpha), step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lvdm-sky")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("heun.mp4"))
    args = parser.parse_args()
    model = VideoModel.from_pretrained(args.model)
    sampling = model.index.sampling.model_copy(update={"sampler": Heun(steps=args.steps)})
    with VideoWriter(args.out, model.index.fps) as writer:
        for part in model.long_video(sampling)(model.request(seeds=[0]), args.frames):
            writer.write(part.frames[0])


if __name__ == "__main__":
    main()
