"""Perceptual losses: distances between frames in the features of a frozen network."""

from typing import Annotated

from pydantic import Field

from longtake.losses.efficientnet import EfficientNetLite
from longtake.losses.lpips import LPIPS

AnyPerceptual = Annotated[EfficientNetLite | LPIPS, Field(discriminator="kind")]
