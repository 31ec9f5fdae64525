#!/usr/bin/env bash
# diffusers 0.42.1: FreeNoise fades the last frames of a long video unless its length fits the stride.
#
# Expected: FreeNoise (`pipe.enable_free_noise(context_length=16, context_stride=4)`,
#   https://huggingface.co/docs/diffusers/api/pipelines/animatediff) attends within overlapping
#   windows and takes the weighted mean of what they say of a frame. Any number of frames is valid;
#   a mean of equal values is that value, so a block whose layers add nothing returns its input.
# Happens: where frames - context_length is not a multiple of the stride, a last window is added for the
#   L frames left over. Their values are multiplied by the window's last L weights, L ... 2, 1 in the
#   default "pyramid", and divided by the first of these, L, instead of by its own weight each.
# Seen (a block that adds nothing, given ones; the last frames that come out):
#     24 frames, stride 4   1  1  1  1
#     26 frames, stride 4   1  1  1  0.5
#     27 frames, stride 4   1  1  0.67  0.33
#     31 frames, stride 8   1  0.86  0.71  0.57  0.43  0.29  0.14
# Consequence: in every motion module the activations of the last frames shrink, down to a seventh,
#   so a long video ends in frames that lose contrast or fall apart; drift over length is blamed on
#   the method. Measures of the end of a video (FVD of its last clip) fall for some lengths only.
# Way around: choose frames = context_length + k * context_stride, or weighting_scheme="flat".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import torch
from diffusers.models.attention import FreeNoiseTransformerBlock


def last_frames(frames, stride, scheme="pyramid"):
    block = FreeNoiseTransformerBlock(
        dim=8, num_attention_heads=2, attention_head_dim=4, double_self_attention=True,
        context_length=16, context_stride=stride, weighting_scheme=scheme,
    )
    for layer in (block.attn1.to_out[0], block.attn2.to_out[0], block.ff.net[-1]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    with torch.no_grad():
        out = block(torch.ones(1, frames, 8))[0, :, 0]
    left = (frames - 16) % stride
    print(f"{frames} frames, stride {stride}, {scheme:8}", *(f"{x:.2f}" for x in out[-8:].tolist()))
    assert torch.allclose(out[: frames - left], torch.ones(frames - left))
    return out[frames - left :]


assert len(last_frames(24, 4)) == 0
for frames, stride in ((26, 4), (27, 4), (31, 8)):
    left = (frames - 16) % stride
    wanted = torch.arange(left, 0, -1) / left
    assert torch.allclose(last_frames(frames, stride), wanted, atol=1e-5)
    assert torch.allclose(last_frames(frames, stride, "flat"), torch.ones(left))
print("as described: the last frames are scaled down")
PY
