"""The command that uploads a model to the Hugging Face hub."""

from typing import Annotated

from typer import Argument, Option

from longtake.cli import arguments


def push(
    model: arguments.Model,
    repository: Annotated[str, Argument(help="USER/NAME on the Hugging Face hub")],
    private: Annotated[bool, Option("--private", help="create a private repository")] = False,
) -> None:
    """Upload a model to the Hugging Face hub, with its card.

    Weights, settings and README.md are uploaded. A model without README.md gets one that states
    its networks and settings. Log in before with `hf auth login`.
    """
    from longtake.hub import find_model, push_folder
    from longtake.model import VideoModel
    from longtake.model.card import CARD

    folder = find_model(model)
    if (folder / CARD).exists():
        print(push_folder(folder, repository, private=private))
    else:
        print(VideoModel.from_pretrained(folder).push_to_hub(repository, private=private))
