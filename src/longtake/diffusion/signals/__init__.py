"""Signals: what a denoiser may be conditioned on, one file a kind."""

from longtake.diffusion.signals.context import CONTEXT, context_frames, context_signals, no_context
from longtake.diffusion.signals.label import ABSENT, label_signal
from longtake.diffusion.signals.previous import previous_signal
from longtake.diffusion.signals.signal import Signal, Signals
from longtake.diffusion.signals.text import text_signal

__all__ = [
    "ABSENT",
    "CONTEXT",
    "Signal",
    "Signals",
    "context_frames",
    "context_signals",
    "label_signal",
    "no_context",
    "previous_signal",
    "text_signal",
]
