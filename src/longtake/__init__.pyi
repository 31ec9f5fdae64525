from longtake.autoencoders import (
    VideoAutoencoder as VideoAutoencoder,
)
from longtake.checkpoint import (
    CheckpointError as CheckpointError,
)
from longtake.config import (
    ConfigError as ConfigError,
)
from longtake.diffusion import (
    DDIM as DDIM,
    DDPM as DDPM,
    ClassifierFree as ClassifierFree,
    Denoiser as Denoiser,
    DiffusersSampler as DiffusersSampler,
    Diffusion as Diffusion,
    Sampler as Sampler,
)
from longtake.generate import (
    LongVideo as LongVideo,
)
from longtake.hub import (
    shipped_models as shipped_models,
)
from longtake.jobs import (
    Job as Job,
    write_videos as write_videos,
)
from longtake.latents import (
    LatentSpec as LatentSpec,
)
from longtake.model import (
    ModelIndex as ModelIndex,
    Sampling as Sampling,
    VideoModel as VideoModel,
)
from longtake.rollout import (
    Autoregressive as Autoregressive,
    DiffusionForcing as DiffusionForcing,
    Fifo as Fifo,
    Hierarchical as Hierarchical,
    NextClip as NextClip,
    OneClip as OneClip,
    Request as Request,
    Rollout as Rollout,
)
from longtake.runs import (
    presets as presets,
    read_run as read_run,
)
from longtake.video import (
    VideoWriter as VideoWriter,
    open_video as open_video,
)

__version__: str
