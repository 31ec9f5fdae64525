#!/usr/bin/env bash
# diffusers 0.42.1: TaylorSeerCache, by default, caches no layer of most video transformers.
#
# Expected: `transformer.enable_cache(TaylorSeerCacheConfig())` predicts the output of attention in most steps. Its docstring:
#   "If neither is provided, all attention-like modules are hooked by default."
# Happens: the default patterns (hooks/taylorseer_cache.py) are "^blocks.*attn", "^transformer_blocks.*attn" and such. The
#   other caches search for them in a layer's name; `apply_taylorseer_cache` demands `re.fullmatch`, which "blocks.0.attn1"
#   is not. So only transformers whose layer is called exactly "attn" (Flux, HunyuanVideo) are cached. In the others no layer
#   is; there is no error and no warning, and `is_cache_enabled` is True.
# Seen (layers that are cached, of one block of each kind):
#     HunyuanVideo    2 of 2       CogVideoX    0 of 1      LTX-Video      0 of 2      Allegro      0 of 2
#     Wan             0 of 2       Mochi        0 of 1      SkyReels-V2    0 of 2
#   A tiny Wan, 20 steps: self-attention of a block is computed 20 times by default, 7 times with identifiers; the
#   prediction of the last step is bitwise that without a cache by default.
# Consequence: a benchmark reports that TaylorSeer is lossless on Wan, CogVideoX or LTX-Video and gains no time, and who serves
#   them with it pays for every step.
# Way around: `TaylorSeerCacheConfig(cache_identifiers=[r".*blocks\.\d+\.attn\d?"])`, and count what is hooked.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from diffusers import (
    AllegroTransformer3DModel,
    CogVideoXTransformer3DModel,
    HunyuanVideoTransformer3DModel,
    LTXVideoTransformer3DModel,
    MochiTransformer3DModel,
    SkyReelsV2Transformer3DModel,
    TaylorSeerCacheConfig,
    WanTransformer3DModel,
)
from diffusers.hooks._common import _ATTENTION_CLASSES

STEPS = 20
IDENTIFIERS = [r".*blocks\.\d+\.attn\d?"]


def attentions(transformer):
    """Attention layers in the blocks of a transformer."""
    return [
        layer for name, layer in transformer.named_modules()
        if isinstance(layer, _ATTENTION_CLASSES) and "blocks.0.attn" in name and "refiner" not in name
    ]


def cached(transformer):
    return sum(hasattr(layer, "_diffusers_hook") and len(layer._diffusers_hook.hooks) > 0 for layer in attentions(transformer))


for kind, layers, options in (
    (HunyuanVideoTransformer3DModel, 2, dict(num_layers=1, num_single_layers=1, num_refiner_layers=1)),
    (WanTransformer3DModel, 2, dict(num_layers=1)),
    (SkyReelsV2Transformer3DModel, 2, dict(num_layers=1)),
    (LTXVideoTransformer3DModel, 2, dict(num_layers=1)),
    (AllegroTransformer3DModel, 2, dict(num_layers=1)),
    (CogVideoXTransformer3DModel, 1, dict(num_layers=1)),
    (MochiTransformer3DModel, 1, dict(num_layers=1)),
):
    counts = []
    for config in (TaylorSeerCacheConfig(), TaylorSeerCacheConfig(cache_identifiers=IDENTIFIERS)):
        with torch.device("meta"):
            transformer = kind(**options)
        assert len(attentions(transformer)) == layers
        transformer.enable_cache(config)
        assert transformer.is_cache_enabled
        counts.append(cached(transformer))
    print(f"{kind.__name__:32} cached by default: {counts[0]} of {layers}, with identifiers: {counts[1]}")
    assert counts == [layers if kind is HunyuanVideoTransformer3DModel else 0, layers]

torch.manual_seed(0)
transformer = WanTransformer3DModel(
    num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16,
    freq_dim=32, ffn_dim=32, num_layers=2, rope_max_seq_len=32,
).eval()
for weight in transformer.parameters():
    if weight.ndim > 1:
        torch.nn.init.normal_(weight, std=0.2)
start, prompt = torch.randn(1, 4, 2, 8, 8), torch.randn(1, 6, 16)
computed = []
transformer.blocks[0].attn1.to_q.register_forward_hook(lambda *_: computed.append(1))


@torch.no_grad()
def sample(config):
    """Latents of a sample by Euler steps, and how often self-attention was computed."""
    computed.clear()
    latents = start
    if config is not None:
        transformer.enable_cache(config)
    for step in range(STEPS):
        with transformer.cache_context("cond"):
            velocity = transformer(
                hidden_states=latents, timestep=torch.tensor([1000 * (1 - step / STEPS)]), encoder_hidden_states=prompt,
                return_dict=False,
            )[0]
        latents = latents - velocity / STEPS
    if config is not None:
        transformer.disable_cache()
    return latents, len(computed)


whole, count = sample(None)
assert count == STEPS
found, count = sample(TaylorSeerCacheConfig())
print(f"by default: self-attention computed {count} times in {STEPS} steps, the same video: {torch.equal(whole, found)}")
assert count == STEPS and torch.equal(whole, found)
found, count = sample(TaylorSeerCacheConfig(cache_identifiers=IDENTIFIERS))
print(f"with identifiers: self-attention computed {count} times, the same video: {torch.equal(whole, found)}")
assert count < STEPS / 2 and not torch.equal(whole, found)
print("as described: no layer is cached")
PY
