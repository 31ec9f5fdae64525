"""Drift of long videos: trends, seams, freezes, loops, feature distances, and a report on them."""

from longtake.drift.curves import feature_curve as feature_curve
from longtake.drift.curves import feature_distances as feature_distances
from longtake.drift.descriptors import Describer as Describer
from longtake.drift.descriptors import Descriptors as Descriptors
from longtake.drift.findings import Finding as Finding
from longtake.drift.findings import judge as judge
from longtake.drift.measures import Measures as Measures
from longtake.drift.measures import measure as measure
from longtake.drift.reference import Reference as Reference
from longtake.drift.reference import real_findings as real_findings
from longtake.drift.repeats import freezes as freezes
from longtake.drift.repeats import loops as loops
from longtake.drift.report import DriftReport as DriftReport
from longtake.drift.seams import borders_every as borders_every
from longtake.drift.seams import jumps as jumps
from longtake.drift.trends import trend as trend
from longtake.drift.video_drift import DriftPlan as DriftPlan
from longtake.drift.video_drift import VideoDrift as VideoDrift
from longtake.drift.write import write_report as write_report
