#!/usr/bin/env bash
# x-transformers 2.31.10: with `shift_tokens` or `attn_data_dependent_alibi`, `generate` samples from another model than was trained.
#
# Expected: `generate(..., cache_kv=True)`, the default, stores keys and values to save time and gives what it gives with
#   `cache_kv=False`. What cannot be cached is recognised (`can_cache_kv`), and generation is then done without the cache.
# Happens: with a cache, a layer sees the newest token alone. `ShiftTokens` (x_transformers.py) shifts a part of the features from the
#   previous token, and now shifts in zeros; the forget gates of `DataDependentAlibi` are summed over the one token,
#   so that nothing is forgotten. `can_cache_kv` does not know of either, and there is no error.
# Seen (2 layers trained on next = (last + last but one) mod 13; the share of right tokens in 24 greedy continuations of 32 tokens,
#   and the difference of the first cached logits as a part of their standard deviation):
#                                     without cache       with cache       difference of logits
#     rotary_pos_emb alone                 1.00               1.00               0.00
#     and shift_tokens=1                   1.00               0.16               0.96
#     and attn_data_dependent_alibi        1.00               0.27               0.52
# Consequence: a generator of video tokens or latents (ContinuousAutoregressiveWrapper has the same default) has a good loss, and its
#   samples are noise or drift; the tokeniser, the temperature or exposure bias is blamed.
# Way around: `generate(..., cache_kv=False)`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 x-transformers==2.31.10 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - 2> log <<'PY' || { cat log; exit 1; }
import torch
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

TOKENS, PROMPT, NEW = 13, 8, 32


def sequences(count, length):
    tokens = list(torch.randint(0, TOKENS, (2, count)))
    while len(tokens) < length:
        tokens.append((tokens[-1] + tokens[-2]) % TOKENS)
    return torch.stack(tokens, 1)


def trained(**options):
    torch.manual_seed(0)
    layers = Decoder(dim=64, depth=2, heads=2, attn_dim_head=32, rotary_pos_emb=True, **options)
    model = AutoregressiveWrapper(TransformerWrapper(num_tokens=TOKENS, max_seq_len=64, attn_layers=layers))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(300):
        loss = model(sequences(64, PROMPT + NEW))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def tested(name, **options):
    model = trained(**options).requires_grad_(False)
    real = sequences(24, PROMPT + NEW)
    shares = []
    for cache_kv in (False, True):
        continued = model.generate(real[:, :PROMPT], NEW, temperature=0.0, cache_kv=cache_kv)
        shares.append((continued == real[:, PROMPT:]).float().mean().item())
    _, cache = model.net(real[:, : PROMPT - 1], return_intermediates=True)
    cached = model.net(real[:, :PROMPT], cache=cache)[:, -1]
    whole = model.net(real[:, :PROMPT])[:, -1]
    difference = ((cached - whole).square().mean().sqrt() / whole.std()).item()
    print(f"{name}: right without cache {shares[0]:.2f}, with cache {shares[1]:.2f}, logits {difference:.2f}", flush=True)
    assert model.net.can_cache_kv and shares[0] > 0.95
    return shares[1], difference


share, difference = tested("plain")
assert share > 0.95 and difference < 1e-4
share, difference = tested("shift_tokens", shift_tokens=1)
assert share < 0.5 and difference > 0.1
share, difference = tested("attn_data_dependent_alibi", attn_data_dependent_alibi=True)
assert share < 0.7 and difference > 0.1
print("as described: the cache changes the model")
PY
