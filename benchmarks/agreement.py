"""Our metrics beside those of other tools on the same clips and features.

    python benchmarks/agreement.py --json docs/results/agreement.json

The other tools are scikit-image, torchmetrics and scipy of the `dev` extra, and, where they can be
imported, kornia, piq, pytorch-fid and torch-fidelity of the `agreement` extra (the last three need
a torchvision that fits torch). Clips are of the sky world with noise that grows over 16 frames;
features are drawn.
"""

import argparse
import importlib
import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.special
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional import image

from longtake.data.synthetic import SkyWorld
from longtake.metrics.frechet import fvd
from longtake.metrics.inception import inception_score
from longtake.metrics.kernel import kvd
from longtake.metrics.pairs import frame_psnr, psnr, ssim
from longtake.video import to_model

Pair = tuple[np.ndarray, np.ndarray]


def noisy_sky() -> Pair:
    """A clip of 16 x 64 x 64, and the same with noise of 0.5 to 20 levels."""
    random = np.random.default_rng(0)
    video = SkyWorld(videos=1).video(0, 0, 16).frames
    noise = np.linspace(0.5, 20, 16)[:, None, None, None] * random.standard_normal(video.shape)
    return video, np.clip(np.round(video + noise), 0, 255).astype(np.uint8)


def over_frames(measure: Callable[..., float], pair: Pair, **settings: object) -> float:
    """Mean of a measure of frames."""
    return float(np.mean([measure(*frames, **settings) for frames in zip(*pair, strict=True)]))


def torchmetrics_ssim(pair: Pair) -> float:
    x, y = (torch.from_numpy(v).permute(0, 3, 1, 2).double() for v in pair)
    return float(torch.as_tensor(image.structural_similarity_index_measure(x, y, data_range=255.0)))


def frechet(x: np.ndarray, y: np.ndarray, correction: int) -> float:
    """By scipy's matrix root, as in pytorch-fid."""
    a, b = (np.cov(rows, rowvar=False, ddof=correction) for rows in (x, y))
    root = np.trace(scipy.linalg.sqrtm(a @ b)).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * root)


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    """As in torchmetrics' KernelInceptionDistance, without subsets, in float64."""
    from torchmetrics.image.kid import poly_mmd

    return float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y)))


def inception(logits: np.ndarray) -> float:
    """One part, by its definition with scipy."""
    p = scipy.special.softmax(logits, axis=1)
    return float(np.exp(scipy.special.rel_entr(p, p.mean(0)).sum(1).mean()))


def imported(module: str) -> bool:
    """Whether a module of the `agreement` extra is there and works with this torch."""
    try:
        importlib.import_module(module)
    except (ImportError, RuntimeError):  # RuntimeError: a torchvision of another build of torch
        return False
    return True


def row(metric: str, ours: float, tool: str, how: str, theirs: float) -> dict[str, object]:
    difference = abs(ours - theirs) / max(abs(theirs), 1e-12)
    return {
        "metric": metric,
        "ours": ours,
        "tool": tool,
        "how": how,
        "theirs": theirs,
        "equal": difference < 1e-5,
    }


def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of 512 real and 400 generated clips, and logits of 500 clips."""
    random = np.random.default_rng(1)
    real = random.standard_normal((512, 64)) @ random.standard_normal((64, 64)) / 8
    generated = random.standard_normal((400, 64)) + 0.3
    return real, generated, 3 * random.standard_normal((500, 101))


def by_kornia() -> Iterator[dict[str, object]]:
    from kornia.metrics import ssim as theirs

    pair = noisy_sky()
    x, y = (torch.from_numpy(v).permute(0, 3, 1, 2).double() / 255 for v in pair)
    ours = float(ssim(*(to_model(video)[None] for video in pair)))
    for padding, border in (("valid", "without the border"), ("same", "counts the border")):
        value = float(theirs(x, y, 11, padding=padding).mean())
        yield row(
            "SSIM", ours, f"kornia {version('kornia')}", f"padding {padding}: {border}", value
        )


def by_piq() -> Iterator[dict[str, object]]:
    from piq import ssim as theirs

    pair = noisy_sky()
    x, y = (torch.from_numpy(v).permute(0, 3, 1, 2).double() / 255 for v in pair)
    value = float(torch.as_tensor(theirs(x, y, downsample=False)))
    ours = float(ssim(*(to_model(video)[None] for video in pair)))
    yield row("SSIM", ours, f"piq {version('piq')}", "downsample off", value)


def by_pytorch_fid() -> Iterator[dict[str, object]]:
    from pytorch_fid.fid_score import calculate_frechet_distance

    sides = drawn()[:2]
    moments = [part for x in sides for part in (x.mean(0), np.cov(x, rowvar=False))]
    ours = fvd(*map(torch.from_numpy, sides))
    value = float(calculate_frechet_distance(*moments))
    tool = f"pytorch-fid {version('pytorch-fid')}"
    yield row("FVD", ours, tool, "calculate_frechet_distance", value)


def by_torch_fidelity() -> Iterator[dict[str, object]]:
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = torch.from_numpy(drawn()[2])
    value = isc_features_to_metric(logits, shuffle=False)["inception_score_mean"]
    tool = f"torch-fidelity {version('torch-fidelity')}"
    yield row("IS", inception_score(logits, seed=None).mean, tool, "10 parts, not shuffled", value)


OTHERS = {
    "kornia": by_kornia,
    "piq": by_piq,
    "pytorch_fid.fid_score": by_pytorch_fid,
    "torch_fidelity.metric_isc": by_torch_fidelity,
}
"""Rows of each tool of the `agreement` extra, by the module that they need."""


def rows() -> Iterator[dict[str, object]]:
    """Our numbers and those of the tools of the `dev` extra."""
    pair = noisy_sky()
    x, y = (to_model(video)[None] for video in pair)
    skimage, torchmetrics, scipy_name = (
        f"{name} {version(name)}" for name in ("scikit-image", "torchmetrics", "scipy")
    )

    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    shown = {"data_range": 255, "channel_axis": 2}
    value = float(ssim(x, y))
    theirs = over_frames(structural_similarity, pair, **shown, **wang)
    yield row("SSIM", value, skimage, "Gaussian window, mean over frames", theirs)
    theirs = over_frames(structural_similarity, pair, **shown)
    yield row("SSIM", value, skimage, "its defaults: uniform window of 7", theirs)
    theirs = torchmetrics_ssim(pair)
    yield row("SSIM", value, torchmetrics, "levels 0 to 255; counts the border", theirs)
    whole = float(peak_signal_noise_ratio(*pair, data_range=255))
    yield row("PSNR", float(psnr(x, y)), skimage, "of the whole clip", whole)
    theirs = over_frames(peak_signal_noise_ratio, pair, data_range=255)
    yield row("FRAME PSNR", float(frame_psnr(x, y)), skimage, "mean over frames", theirs)
    a, b = (torch.from_numpy(v).double() for v in pair)
    theirs = float(image.peak_signal_noise_ratio(a, b, data_range=255.0))
    yield row("PSNR", float(psnr(x, y)), torchmetrics, "of the whole clip", theirs)

    real, generated, logits = drawn()
    sides = torch.from_numpy(real), torch.from_numpy(generated)
    for correction, name in ((1, "n - 1"), (0, "n")):
        ours = fvd(*sides, correction=correction)
        how = f"sqrtm, covariance over {name}"
        yield row("FVD", ours, scipy_name, how, frechet(real, generated, correction))
    ours = kvd(sides[0][: len(generated)], sides[1])  # torchmetrics takes sides of one length
    theirs = kernel(real[: len(generated)], generated)
    yield row("KVD", ours, torchmetrics, "poly_mmd, float64, no subsets", theirs)
    ours = inception_score(torch.from_numpy(logits), parts=1).mean
    yield row("IS", ours, scipy_name, "rel_entr, one part", inception(logits))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = list(rows())
    for module, others in OTHERS.items():
        if imported(module):
            found += others()
        else:
            print(f"not compared, as it cannot be imported: {module}")
    print("| metric | ours | tool | how it is called | its number | equal |")
    print("| --- | ---: | --- | --- | ---: | --- |")
    for r in found:
        print(
            f"| {r['metric']} | {r['ours']:.6g} | {r['tool']} | {r['how']} | {r['theirs']:.6g} "
            f"| {'yes' if r['equal'] else 'no'} |"
        )
    if args.json:
        args.json.write_text(json.dumps({"rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
