"""Layers of networks; inside these a volume is channels last, ``(b, f, h, w, c)``.

That is the layout in which a (1, 3, 3) convolution is a 2D one without a copy, a 1x1 convolution is
a matrix product, and attention reads its tokens in place.
"""

from typing import Annotated

from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor

Volume = Float[Tensor, "b f h w c"]
Count = Annotated[int, Gt(0)]
"""A positive integer in a network's config."""
