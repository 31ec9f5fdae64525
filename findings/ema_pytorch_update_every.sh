#!/usr/bin/env bash
# ema-pytorch 0.8.3: `update_every`, which "saves compute", widens the averages of PostHocEMA several times.
#
# Expected: `PostHocEMA(sigma_rels=(0.05, 0.28), update_every=10)` keeps averages whose relative width
#   is sigma_rel, the definition of the power-function profile (Karras et al., "Analyzing and
#   Improving the Training Dynamics of Diffusion Models", section 3.1). The README calls update_every
#   "how often to actually update, to save on compute": an average of every tenth of 2,000 slowly
#   moving weights is nearly the average of all.
# Happens: an update that stands for ten steps decays as much as one step does, (1 - 1/t)^(gamma + 1)
#   instead of ((t - 10)/t)^(gamma + 1). The average has the exponent (gamma + 1)/10 - 1 and never
#   forgets the start. update_every defaults to 100.
# Seen (2,000 steps; centre and width of the averaged steps, as fractions of the training):
#                         sigma_rel 0.05     sigma_rel 0.28
#                         centre  width      centre  width
#     asked for            0.947  0.050       0.539  0.280
#     update_every 1       0.948  0.050       0.539  0.280
#     update_every 10      0.641  0.246       0.104  0.210
#     default (100)        0.147  0.238       0.011  0.073
# Consequence: averages called 0.05 are weights of the middle of the training, those called 0.28 of
#   its first tenth; the same training without update_every gives other samples. A sweep of sigma_rel
#   finds the wrong optimum, and profiles synthesised after training are solved for averages that
#   the checkpoints do not hold.
# Way around: `update_every=1`, or `gammas` chosen so that (gamma + 1) is update_every times larger.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 ema-pytorch==0.8.3 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PY'
import numpy as np
import torch
from ema_pytorch import PostHocEMA
from ema_pytorch.post_hoc_ema import sigma_rel_to_gamma

STEPS, WIDTHS = 2000, (0.05, 0.28)


def centre_and_width(mean, mean_of_squares):
    return mean, max(mean_of_squares - mean**2, 0) ** 0.5


def averaged(**options):
    """Average the weights (s, s squared), s the fraction of the training done."""
    net = torch.nn.Linear(2, 1, bias=False)
    emas = PostHocEMA(net, checkpoint_every_num_steps="manual", **options)
    for step in range(1, STEPS + 1):
        s = step / STEPS
        with torch.no_grad():
            net.weight.copy_(torch.tensor([[s, s * s]]))
        emas.update()
    return [centre_and_width(*ema.ema_model.weight[0].tolist()) for ema in emas.ema_models]


def show(name, rows):
    print(f"{name:36}", "   ".join(f"{c:.3f} {w:.3f}" for c, w in rows))
    return np.array(rows)


ideal = []
for width in WIDTHS:
    power = sigma_rel_to_gamma(width) + 1
    ideal.append(centre_and_width(power / (power + 1), power / (power + 2)))
asked = show("asked for", ideal)
every = show("update_every 1", averaged(sigma_rels=WIDTHS, update_every=1))
tenth = show("update_every 10", averaged(sigma_rels=WIDTHS, update_every=10))
default = show("default (100)", averaged(sigma_rels=WIDTHS))
larger = tuple(10 * (sigma_rel_to_gamma(width) + 1) - 1 for width in WIDTHS)
scaled = show("update_every 10, ten times gamma + 1", averaged(gammas=larger, update_every=10))
assert abs(every - asked).max() < 0.01
assert abs(scaled - asked).max() < 0.03
assert tenth[0, 1] > 4 * asked[0, 1] and tenth[1, 0] < 0.15
assert default[0, 0] < 0.2 and default[1, 0] < 0.05
print("as described: the averages of fewer updates are far wider and older")
PY
