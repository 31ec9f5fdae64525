"""Worlds that longtake carries: endless labelled video, made by seed."""

from longtake.data.synthetic.base import SyntheticSource
from longtake.data.synthetic.doom import DoomWorld
from longtake.data.synthetic.marbles import MarblesWorld
from longtake.data.synthetic.sky import SkyWorld

__all__ = ["DoomWorld", "MarblesWorld", "SkyWorld", "SyntheticSource"]
