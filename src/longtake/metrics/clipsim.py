"""CLIPSIM: how well videos fit their captions, by CLIP."""

from jaxtyping import Float, Float64
from torch import Tensor


def clipsim(videos: Float[Tensor, "n d"], captions: Float[Tensor, "n d"]) -> Float64[Tensor, "n"]:
    """CLIPSIM of each video: cosine of caption and frame, averaged over frames, times 100.

    The cosine is that of CLIP features. ``videos`` holds features of length 1 averaged over frames,
    ``captions`` features of length 1. GODIVA (Wu et al., 2021) introduced the average over frames;
    papers on text-to-video print the cosine (LVDM's 0.2381 on MSR-VTT is 23.81 here), CLIPScore's
    tools (torchmetrics) 100 times it. Scores of different CLIP models cannot be compared: GODIVA's
    and LVDM's is ViT-B/32.
    """
    return 100 * (videos.double() * captions.double()).sum(1)
