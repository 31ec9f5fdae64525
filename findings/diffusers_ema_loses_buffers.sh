#!/usr/bin/env bash
# diffusers 0.42.1: a video autoencoder saved by `EMAModel` has lost the mean and std of its latents.
#
# Expected: `EMAModel(vae.parameters(), model_cls=..., model_config=vae.config).save_pretrained(folder)`
#   writes the averaged model, as the training scripts of diffusers do for UNets; whatever is not
#   averaged is that of the trained model. `from_pretrained` of the folder gives a model that encodes
#   to latents of the same scale.
# Happens: save_pretrained builds a model of the config and copies the averaged parameters into it.
#   Buffers stay as a new model has them. The autoencoders of LTX-Video and LTX-2 keep `latents_mean`
#   and `latents_std`, by which their pipelines normalise latents, as buffers that belong to the
#   weights: they become 0 and 1. Nothing is reported, since no key is missing. (Batch norms, as in
#   AutoencoderKLFlux2, lose their running statistics in the same way.)
# Seen (a small AutoencoderKLLTXVideo, latents_mean 0.5, latents_std 2):
#                                                 latents_mean   latents_std
#     vae.save_pretrained                              0.5           2.0
#     EMAModel.save_pretrained                         0.0           1.0
#     EMAModel.copy_to, then vae.save_pretrained       0.5           2.0
# Consequence: after fine-tuning such an autoencoder with an EMA, reconstructions look right, since they do
#   not use the two, but every video generated with it is decoded from latents of the wrong mean and
#   scale, and a denoiser trained on its latents is trained on other ones.
# Way around: `ema.copy_to(vae.parameters())` on the trained model, then `vae.save_pretrained(folder)`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PY'
import diffusers
import torch
from diffusers import AutoencoderKLLTXVideo
from diffusers.training_utils import EMAModel

diffusers.utils.logging.set_verbosity_error()
SMALL = {
    "latent_channels": 8,
    "block_out_channels": (8, 8, 8, 8),
    "decoder_block_out_channels": (8, 8, 8, 8),
    "layers_per_block": (1, 1, 1, 1, 1),
    "decoder_layers_per_block": (1, 1, 1, 1, 1),
    "patch_size": 1,
}


def show(name):
    """Mean and std of the latents of the model in a folder."""
    vae = AutoencoderKLLTXVideo.from_pretrained(name)
    found = vae.latents_mean.mean().item(), vae.latents_std.mean().item()
    print(f"{name:12} latents_mean {found[0]:.1f}   latents_std {found[1]:.1f}")
    return found, vae


torch.manual_seed(0)
vae = AutoencoderKLLTXVideo(**SMALL)
vae.latents_mean.fill_(0.5)
vae.latents_std.fill_(2.0)
ema = EMAModel(vae.parameters(), model_cls=AutoencoderKLLTXVideo, model_config=vae.config)
with torch.no_grad():
    for parameter in vae.parameters():
        parameter.add_(0.01)
ema.step(vae.parameters())
vae.save_pretrained("plain")
ema.save_pretrained("ema")
ema.copy_to(vae.parameters())
vae.save_pretrained("ema_copied")
plain, _ = show("plain")
lost, averaged = show("ema")
kept, copied = show("ema_copied")
assert plain == kept == (0.5, 2.0)
assert lost == (0.0, 1.0)
for ours, theirs in zip(averaged.parameters(), copied.parameters(), strict=True):
    assert torch.equal(ours, theirs)
print("as described: the averaged model has the mean and std of a new one")
PY
