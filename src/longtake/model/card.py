"""Model cards: a README of a model folder, with the data that the Hugging Face hub shows."""

from pathlib import Path

from longtake.model.index import ModelIndex

CARD = "README.md"
"""Name of the card in a model folder."""

TEMPLATE = Path(__file__).with_name("card.md")


def model_card(
    name: str, index: ModelIndex, clip: tuple[int, int, int], weights: dict[str, int]
) -> str:
    """Text of a model card, as ``README.md`` of a model folder or of a repository of the hub.

    Args:
        name: folder or hub id by which the model is opened.
        index: the model's settings.
        clip: frames of an autoencoder's clip, and their height and width in pixels.
        weights: number of weights of each network, by the name of its folder.
    """
    from huggingface_hub import ModelCard, ModelCardData

    text = index.text_encoder is not None
    data = ModelCardData(
        library_name="longtake",
        pipeline_tag="text-to-video" if text else None,
        tags=["video", "video-generation", "latent-video-diffusion"],
    )
    diffusion, sampling = index.diffusion, index.sampling
    samples = diffusion is not None
    shown = "autoencoder" if not samples else "text" if text else "videos"
    usage = TEMPLATE.with_stem(f"card_{shown}").read_text(encoding="utf-8")
    body = TEMPLATE.read_text(encoding="utf-8").format(
        name=name,
        made=f"videos of {clip[1]} x {clip[2]} pixels (height x width)"
        if samples
        else f"no videos: it reconstructs clips of {clip[0]} frames of {clip[1]} x {clip[2]} "
        "pixels (height x width)",
        fps=index.fps,
        networks=", ".join(f"{part} ({n:,} weights)" for part, n in weights.items()),
        diffusion="none"
        if diffusion is None
        else f"{diffusion.schedule.kind} schedule, {diffusion.prediction}-prediction",
        sampling=f"`{sampling.sampler.kind}`, rollout `{sampling.rollout.kind}`"
        if samples
        else "none",
        classes="".join(f"- Class {i}: {c}.\n" for i, c in enumerate(index.classes)),
        usage=usage.format(name=name, frames=clip[0]),
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n{body}"))
