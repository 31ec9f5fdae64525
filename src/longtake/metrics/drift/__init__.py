"""What becomes of a long video: trends, seams, freezes, loops, and feature distances over time."""

from longtake.metrics.drift.curves import Curve, CurvePoint, feature_curve, feature_distances
from longtake.metrics.drift.descriptors import Describer, Descriptors
from longtake.metrics.drift.repeats import Freeze, Loop, freezes, loops
from longtake.metrics.drift.seams import Seams, borders_every, cuts, find_borders, jumps, seam_score
from longtake.metrics.drift.trends import Trend, trend
from longtake.metrics.drift.verdicts import Finding, Measures, judge, measure

__all__ = [
    "Curve",
    "CurvePoint",
    "Describer",
    "Descriptors",
    "Finding",
    "Freeze",
    "Loop",
    "Measures",
    "Seams",
    "Trend",
    "borders_every",
    "cuts",
    "feature_curve",
    "feature_distances",
    "find_borders",
    "freezes",
    "judge",
    "jumps",
    "loops",
    "measure",
    "seam_score",
    "trend",
]
