"""What becomes of long video over time, as sentences, a page, a picture and a file of numbers."""

from longtake.drift.one import Plan, VideoDrift
from longtake.drift.report import DriftReport, report

__all__ = ["DriftReport", "Plan", "VideoDrift", "report"]
