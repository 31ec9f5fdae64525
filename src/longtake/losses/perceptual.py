"""Perceptual losses to choose from."""

from typing import Annotated

from pydantic import Field

from longtake.losses.efficientnet import EfficientNetLite
from longtake.losses.lpips import LPIPS

AnyPerceptual = Annotated[EfficientNetLite | LPIPS, Field(discriminator="kind")]
