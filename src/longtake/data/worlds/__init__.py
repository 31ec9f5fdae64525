"""Worlds that longtake carries: endless labelled video, made by seed."""

from longtake.data.worlds.base import EmbeddedWorld
from longtake.data.worlds.doom import DoomWorld
from longtake.data.worlds.marbles import MarblesWorld
from longtake.data.worlds.sky import SkyWorld

__all__ = ["DoomWorld", "EmbeddedWorld", "MarblesWorld", "SkyWorld"]
