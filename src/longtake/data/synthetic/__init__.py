"""Synthetic data sets: endless labelled videos that longtake renders from a seed."""

from longtake.data.synthetic.base import SyntheticSource
from longtake.data.synthetic.doom import DoomWorld
from longtake.data.synthetic.marbles import MarblesWorld
from longtake.data.synthetic.sky import SkyWorld

__all__ = ["DoomWorld", "MarblesWorld", "SkyWorld", "SyntheticSource"]
