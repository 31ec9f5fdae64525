#!/usr/bin/env bash
# diffusers 0.42.1: with `fqn="auto"`, chance decides in each process which stack of blocks layer skipping skips.
#
# Expected: a script run twice with the same seeds skips the same blocks. `LayerSkipConfig(indices)` has `fqn="auto"` by default
#   ("For automatic detection, set this to "auto""), so a stack of blocks is chosen by a rule.
# Happens: `_ALL_TRANSFORMER_BLOCK_IDENTIFIERS` (hooks/_common.py) is a tuple made of a set of strings, whose order
#   depends on Python's hash seed, random in each process. `_apply_layer_skip_hook` (hooks/layer_skip.py) takes the first
#   name in this order that the transformer has. HunyuanVideo, FramePack and MotifVideo have "transformer_blocks" and
#   "single_transformer_blocks", Latte "transformer_blocks" and "temporal_transformer_blocks". There is no warning.
# Seen (block 0 of a tiny HunyuanVideo skipped; mean size of the prediction, 0.793 without skipping):
#                                     processes with this order, of 24      prediction
#     transformer_blocks              about half                            1.061
#     single_transformer_blocks       the others                            0.586
# Consequence: with SkipLayerGuidance, PerturbedAttentionGuidance and AutoGuidance, which take a LayerSkipConfig, the same
#   seed gives another video after a restart. Ranks of one job, or workers of one server, skip different blocks, and layers
#   tuned for one stack are used in the other. No seed of torch or NumPy helps.
# Way around: name the stack, `LayerSkipConfig(indices, fqn="transformer_blocks")`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
cd "$work"
cat > order.py <<'PY'
"""Prints which name comes first in diffusers' tuple, read from its source, in a process with this hash seed."""
import ast
import importlib.util
import pathlib

names = {}
source = pathlib.Path(importlib.util.find_spec("diffusers").origin).parent / "hooks/_common.py"
for statement in ast.parse(source.read_text()).body:
    if isinstance(statement, ast.Assign) and "BLOCK_IDENTIFIERS" in statement.targets[0].id:
        exec(ast.unparse(statement), names)
print(next(n for n in names["_ALL_TRANSFORMER_BLOCK_IDENTIFIERS"] if n in ("transformer_blocks", "single_transformer_blocks")))
PY
cat > skip.py <<'PY'
"""Skips block 0 of a HunyuanVideo by "auto", and prints the stack and the mean size of the prediction."""
import torch
from diffusers import HunyuanVideoTransformer3DModel
from diffusers.hooks import LayerSkipConfig, apply_layer_skip


def prediction(config):
    torch.manual_seed(0)
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1, num_single_layers=1,
        num_refiner_layers=1, patch_size=1, patch_size_t=1, guidance_embeds=False, text_embed_dim=16,
        pooled_projection_dim=8, rope_axes_dim=(2, 4, 4),
    ).eval()
    for weight in transformer.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)
    if config is not None:
        apply_layer_skip(transformer, config)
    with torch.no_grad():
        return transformer(
            hidden_states=torch.randn(1, 4, 2, 8, 8), timestep=torch.tensor([500.0]),
            encoder_hidden_states=torch.randn(1, 6, 16), encoder_attention_mask=torch.ones(1, 6),
            pooled_projections=torch.randn(1, 8), return_dict=False,
        )[0].abs().mean().item()


config = LayerSkipConfig(indices=[0])
skipped = prediction(config)
named = prediction(LayerSkipConfig(indices=[0], fqn="transformer_blocks"))
print(f"{config.fqn} {skipped:.3f}, named: {named:.3f}, none skipped: {prediction(None):.3f}")
PY
export OMP_NUM_THREADS=1
unset PYTHONHASHSEED
for _ in $(seq 24); do venv/bin/python order.py; done | sort | uniq -c | tee counts
[ "$(wc -l < counts)" = 2 ] # both orders occur in 24 processes with random hash seeds
for stack in transformer_blocks single_transformer_blocks; do
    for seed in $(seq 100); do
        [ "$(PYTHONHASHSEED=$seed venv/bin/python order.py)" != $stack ] || break
    done
    PYTHONHASHSEED=$seed venv/bin/python skip.py 2> log > "$stack" || { cat log; exit 1; }
    echo "PYTHONHASHSEED=$seed: $(cat "$stack")"
    grep -q "^$stack " "$stack"
done
grep -q "^transformer_blocks 1.061, named: 1.061, none skipped: 0.793" transformer_blocks
grep -q "^single_transformer_blocks 0.586, named: 1.061, none skipped: 0.793" single_transformer_blocks
echo "as described: the stack is chosen by chance"
