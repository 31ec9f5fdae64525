"""Training runs: each a frozen config that carries itself out, one file a kind."""

from longtake.runs.autoencoder import AutoencoderRun as AutoencoderRun
from longtake.runs.decoder import DecoderRun as DecoderRun
from longtake.runs.diffusion import DiffusionRun as DiffusionRun
from longtake.runs.distillation import DistillationRun as DistillationRun
from longtake.runs.read import AnyRun as AnyRun
from longtake.runs.read import check_origins as check_origins
from longtake.runs.read import presets as presets
from longtake.runs.read import read_run as read_run
from longtake.training.callbacks import Callbacks as Callbacks
