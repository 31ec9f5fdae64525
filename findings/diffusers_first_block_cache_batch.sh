#!/usr/bin/env bash
# diffusers 0.42.1: with FirstBlockCache a video depends on the other videos of its batch.
#
# Expected: a list of generators gives each video of a batch its own noise, so that it is the one made alone with the
#   same seed (https://huggingface.co/docs/diffusers/using-diffusers/reusing_seeds), up to rounding. FirstBlockCache
#   skips the other blocks in a step in which the first block's output changes little (`threshold`).
# Happens: the change is one number, the mean over the whole batch, and the step is computed or skipped for all
#   of its videos together.
# Seen (a tiny Wan of random weights, 20 steps, threshold 0.2, prompts of unlike strength; steps that all blocks
#   compute, and mean distance of the first video from the one made alone, whose mean size is 1.2):
#                              steps    distance
#     alone                       16
#     with a second video          7        0.042
#     with a third one            20        0.015
#     with both                   12        0.038
#     no cache, in any batch: no distance
# Consequence: a sample cannot be made again from its seed without the rest of its batch; a server that batches requests
#   makes each user's video depend on the others'; metrics change with the batch size, and a video next to
#   unlike ones is made with fewer or more steps than the threshold means for it.
# Way around: batches of one with FirstBlockCache.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from diffusers import (
    FirstBlockCacheConfig,
    FlowMatchEulerDiscreteScheduler,
    WanPipeline,
    WanTransformer3DModel,
)

STEPS = 20

torch.manual_seed(0)
transformer = WanTransformer3DModel(
    num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16,
    freq_dim=32, ffn_dim=32, num_layers=3, rope_max_seq_len=32,
).eval()
for weight in transformer.parameters():
    if weight.ndim > 1:
        torch.nn.init.normal_(weight, std=0.2)
prompts = torch.tensor([2.0, 8.0, 0.5])[:, None, None] * torch.randn(3, 6, 16)
pipe = WanPipeline(
    tokenizer=None, text_encoder=None, vae=None, transformer=transformer,
    scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
)
pipe.set_progress_bar_config(disable=True)
calls = []
transformer.blocks[1].ffn.register_forward_hook(lambda module, inputs, output: calls.append(1))


def sample(*seeds):
    """A video of each prompt, with a seed of its own, and the number of calls of the second block."""
    calls.clear()
    videos = pipe(
        prompt_embeds=prompts[list(seeds)], guidance_scale=1.0, height=32, width=32, num_frames=5,
        num_inference_steps=STEPS, output_type="latent",
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).frames
    return videos, len(calls)


def distances(name, config=None):
    """Of the first video in batches with others from the same made alone."""
    if config is not None:
        transformer.enable_cache(config)
    found = []
    alone, steps = sample(0)
    print(f"    {name:20} alone: {steps} steps")
    for batch in ((0, 1), (0, 2), (0, 1, 2)):
        videos, steps = sample(*batch)
        found.append((videos[0] - alone[0]).abs().mean().item())
        print(f"    {name:20} {batch} {steps} steps, distance {found[-1]:.4f} of {alone.abs().mean():.2f}")
    if config is not None:
        transformer.disable_cache()
    return found


assert max(distances("no cache")) < 1e-4
assert min(distances("FirstBlockCache", FirstBlockCacheConfig(threshold=0.2))) > 1e-2
print("as described: one decision for the whole batch")
PY
