"""CLIPSIM: how well videos fit their captions, by CLIP."""

from jaxtyping import Float, Float64
from torch import Tensor


def clipsim(videos: Float[Tensor, "n d"], captions: Float[Tensor, "n d"]) -> Float64[Tensor, "n"]:
    """Cosine of a caption's and a frame's CLIP features, averaged over each video's frames, x 100.

    ``videos`` has the mean over frames of features of length 1, ``captions`` features of length 1.
    GODIVA (Wu et al., 2021) introduced the average over frames; papers on text-to-video print the
    cosine (LVDM's 0.2381 on MSR-VTT is 23.81 here), CLIPScore's tools (torchmetrics) 100 times it.
    Scores of different CLIP models do not compare: GODIVA's and LVDM's is ViT-B/32.
    """
    return 100 * (videos.double() * captions.double()).sum(1)
