"""Drift of long videos: trends, seams, freezes, loops, feature distances, and a report on them."""

from longtake.drift.curves import Curve, CurvePoint, feature_curve, feature_distances
from longtake.drift.descriptors import Describer, Descriptors
from longtake.drift.findings import Finding, Measures, judge, measure
from longtake.drift.repeats import Freeze, Loop, freezes, loops
from longtake.drift.report import DriftReport
from longtake.drift.seams import Seams, borders_every, cuts, find_borders, jumps, seam_score
from longtake.drift.trends import Trend, trend
from longtake.drift.video_drift import DriftPlan, VideoDrift
from longtake.drift.write import write_report

__all__ = [
    "Curve",
    "CurvePoint",
    "Describer",
    "Descriptors",
    "DriftPlan",
    "DriftReport",
    "Finding",
    "Freeze",
    "Loop",
    "Measures",
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
