"""Long video over time: trends, seams, freezes, loops, feature distances, and the report."""

from longtake.drift.curves import Curve, CurvePoint, feature_curve, feature_distances
from longtake.drift.descriptors import Describer, Descriptors
from longtake.drift.repeats import Freeze, Loop, freezes, loops
from longtake.drift.report import DriftReport, write_report
from longtake.drift.seams import Seams, borders_every, cuts, find_borders, jumps, seam_score
from longtake.drift.trends import Trend, trend
from longtake.drift.verdicts import Finding, Measures, judge, measure
from longtake.drift.video_drift import Plan, VideoDrift

__all__ = [
    "Curve",
    "CurvePoint",
    "Describer",
    "Descriptors",
    "DriftReport",
    "Finding",
    "Freeze",
    "Loop",
    "Measures",
    "Plan",
    "Seams",
    "Trend",
    "VideoDrift",
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
    "write_report",
]
