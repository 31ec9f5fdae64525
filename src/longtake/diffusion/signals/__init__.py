"""Signals that a denoiser is conditioned on: one file a kind, and batch operations of all kinds."""

from longtake.diffusion.signals.context import CONTEXT as CONTEXT
from longtake.diffusion.signals.context import ContextPlan as ContextPlan
from longtake.diffusion.signals.context import context_frames as context_frames
from longtake.diffusion.signals.context import context_signals as context_signals
from longtake.diffusion.signals.context import frame_times as frame_times
from longtake.diffusion.signals.context import impose as impose
from longtake.diffusion.signals.context import no_context as no_context
from longtake.diffusion.signals.context_cases import ContextCase as ContextCase
from longtake.diffusion.signals.context_cases import chosen as chosen
from longtake.diffusion.signals.label import draw_label as draw_label
from longtake.diffusion.signals.label import draw_named_labels as draw_named_labels
from longtake.diffusion.signals.label import join_class as join_class
from longtake.diffusion.signals.label import label_signal as label_signal
from longtake.diffusion.signals.label import named_label as named_label
from longtake.diffusion.signals.label import named_label_signals as named_label_signals
from longtake.diffusion.signals.label import split_class as split_class
from longtake.diffusion.signals.previous import previous_signal as previous_signal
from longtake.diffusion.signals.signal import *  # noqa: F403
from longtake.diffusion.signals.text import draw_text as draw_text
from longtake.diffusion.signals.text import text_signal as text_signal
