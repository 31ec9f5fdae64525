#!/usr/bin/env bash
# diffusers 0.42.1: SmoothedEnergyGuidance does nothing, and SkipLayerGuidance without CFG is CFG that skips no layer.
#
# Expected: these guiders run the network once more with some layers perturbed, and guide away from that prediction ("during
#   the denoising process on an additional conditional batch of data, apart from the conditional and unconditional batches
#   already used in CFG"). Where CFG is off (`guidance_scale=1.0`, as for distilled networks, or after `stop`) they guide by the
#   perturbed prediction alone; their `prepare_inputs` and `forward` have a branch for that.
# Happens: a guider perturbs the network only while `_count_prepared` is 3, the third batch of a step.
#   `SmoothedEnergyGuidance.prepare_models` (guiders/smoothed_energy_guidance.py) does not count, so its network is never
#   perturbed. Without CFG there are only two batches in `SkipLayerGuidance` too (guiders/skip_layer_guidance.py;
#   PerturbedAttentionGuidance has the same code), and the second, "pred_cond_skip", is given the negative prompt. There is
#   no error and no warning; the additional pass is paid for.
# Seen (a tiny Wan of random weights; mean distance of the guided prediction from that of ClassifierFreeGuidance of the same
#   scale, over the mean size of that):
#                               guidance_scale 5.0    guidance_scale 1.0
#     SkipLayerGuidance         3 passes, 0.22        2 passes, 1.41: bitwise ClassifierFreeGuidance(2.8)
#     SmoothedEnergyGuidance    3 passes, 0           2 passes, 1.41: bitwise ClassifierFreeGuidance(2.8)
#   2.8 is the default of `skip_layer_guidance_scale` and `seg_guidance_scale`. With CFG, SmoothedEnergyGuidance gives 0 for
#   every scale and blur, even for a layer that the network lacks.
# Consequence: a comparison of guidance methods finds that SEG changes nothing, in 1.5 times the time. A distilled
#   network, or the steps without CFG, get the CFG that was turned off, as the effect of skipped layers.
# Way around: for SEG with CFG a subclass that counts, as below. For SLG without CFG, `guidance_scale=1.001`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from diffusers import ClassifierFreeGuidance, SkipLayerGuidance, SmoothedEnergyGuidance, WanTransformer3DModel
from diffusers.hooks import LayerSkipConfig, SmoothedEnergyGuidanceConfig

torch.manual_seed(0)
transformer = WanTransformer3DModel(
    num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16,
    freq_dim=32, ffn_dim=32, num_layers=3, rope_max_seq_len=32,
).eval()
for weight in transformer.parameters():
    if weight.ndim > 1:
        torch.nn.init.normal_(weight, std=0.2)
latents, timestep = torch.randn(1, 4, 4, 8, 8), torch.tensor([500.0])
prompts = tuple(torch.randn(2, 1, 6, 16))


@torch.no_grad()
def guided(guider):
    """Passes and prediction in the second of ten steps, by the loop of diffusers' pipelines with guiders."""
    guider.set_state(step=1, num_inference_steps=10, timestep=timestep)
    batches = guider.prepare_inputs({"encoder_hidden_states": prompts})
    for batch in batches:
        guider.prepare_models(transformer)
        batch.noise_pred = transformer(
            hidden_states=latents, timestep=timestep, encoder_hidden_states=batch.encoder_hidden_states, return_dict=False
        )[0]
        guider.cleanup_models(transformer)
    return len(batches), guider(batches).pred


def skip_layer(scale):
    config = LayerSkipConfig([1], fqn="blocks")
    return SkipLayerGuidance(scale, skip_layer_config=config, skip_layer_guidance_start=0.0, skip_layer_guidance_stop=1.0)


def smoothed(scale, kind=SmoothedEnergyGuidance, layer=1, **options):
    config = SmoothedEnergyGuidanceConfig([layer], fqn="blocks")
    return kind(scale, seg_guidance_config=config, seg_guidance_start=0.0, seg_guidance_stop=1.0, **options)


class CountingSmoothedEnergyGuidance(SmoothedEnergyGuidance):
    def prepare_models(self, denoiser):
        self._count_prepared += 1
        super().prepare_models(denoiser)


def distance(guider, scale):
    """Passes, and distance from CFG of this scale."""
    _, wanted = guided(ClassifierFreeGuidance(scale))
    passes, found = guided(guider)
    return passes, ((found - wanted).abs().mean() / wanted.abs().mean()).item()


seen = {}
for make in (skip_layer, smoothed):
    for scale in (5.0, 1.0):
        passes, seen[make, scale] = distance(make(scale), scale)
        print(f"{type(make(scale)).__name__:24} guidance_scale {scale}: {passes} passes, distance {seen[make, scale]:.2f}")
        assert passes == (3 if scale == 5.0 else 2)
assert seen[skip_layer, 5.0] > 0.1 and seen[smoothed, 5.0] == 0
_, cfg = guided(ClassifierFreeGuidance(2.8))
for make in (skip_layer, smoothed):
    assert seen[make, 1.0] > 0.1 and torch.equal(guided(make(1.0))[1], cfg)
    print(f"{type(make(1.0)).__name__:24} guidance_scale 1.0: bitwise ClassifierFreeGuidance(2.8)")
for options in (dict(seg_guidance_scale=100.0), dict(seg_blur_sigma=1.0), dict(layer=77)):
    assert distance(smoothed(5.0, **options), 5.0) == (3, 0), options
    print(f"SmoothedEnergyGuidance, {options}: distance 0")
for name, guider, scale in (
    ("SEG that counts", smoothed(5.0, CountingSmoothedEnergyGuidance), 5.0),
    ("SLG, guidance_scale 1.001", skip_layer(1.001), 1.001),
):
    _, found = distance(guider, scale)
    print(f"way around, {name}: distance {found:.2f}")
    assert found > 0.01
assert not torch.allclose(guided(skip_layer(1.001))[1], cfg, rtol=0.1)
print("as described: nothing is perturbed")
PY
