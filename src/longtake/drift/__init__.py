"""Drift of long videos: trends, seams, freezes, loops, feature distances, and a report on them."""

from longtake.drift.curves import feature_curve, feature_distances
from longtake.drift.descriptors import Describer, Descriptors
from longtake.drift.findings import Finding, Measures, judge, measure
from longtake.drift.repeats import freezes, loops
from longtake.drift.report import DriftReport
from longtake.drift.seams import borders_every, jumps
from longtake.drift.trends import trend
from longtake.drift.video_drift import DriftPlan, VideoDrift
from longtake.drift.write import write_report

__all__ = [
    "Describer",
    "Descriptors",
    "DriftPlan",
    "DriftReport",
    "Finding",
    "Measures",
    "VideoDrift",
    "borders_every",
    "feature_curve",
    "feature_distances",
    "freezes",
    "judge",
    "jumps",
    "loops",
    "measure",
    "trend",
    "write_report",
]
