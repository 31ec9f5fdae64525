"""Signals: what a denoiser may be conditioned on."""

from longtake.diffusion.signals.context import CONTEXT, context_frames, context_signals, no_context
from longtake.diffusion.signals.signal import (
    ABSENT,
    Signal,
    Signals,
    label_signal,
    previous_signal,
    text_signal,
)

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
