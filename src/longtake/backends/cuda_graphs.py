"""Networks on a GPU that are replayed from CUDA graphs, one for each set of input shapes."""

import copy
import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from longtake.autoencoders.base import VideoAutoencoder
from longtake.diffusion.process import Denoiser, Embedding

LOGGER = logging.getLogger("longtake")
WARM_UP = 2  # calls in which libraries choose and compile kernels

Inputs = Mapping[str, Tensor]
Replay = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class CudaGraphs:
    """Replays denoisers and decoders from CUDA graphs, with the weights where they are.

    The CPU starts a recorded forward pass at once, not kernel by kernel: at batch 1 a GPU otherwise
    waits for the CPU most of the time. Each shape of the inputs is recorded at its first use and
    keeps the memory of its activations. Networks that are not on a GPU run as they are, which is
    logged. Weights must not be moved or changed after the first use.
    """

    @property
    def device(self) -> str:
        """Device that commands open models on by default: ``auto``, a GPU if there is one."""
        return "auto"

    @property
    def identity(self) -> Mapping[str, Any]:
        """Name of the backend, as JSON data."""
        return {"name": "cuda_graphs"}

    def denoiser(self, network: Denoiser) -> Denoiser:
        """Return a denoiser with the predictions of ``network``, replayed from CUDA graphs.

        ``network`` itself if it is not on a GPU.
        """
        if not on_gpu(network):
            return network
        run = Graphs()

        def prepare(signals: Inputs, embedding: Embedding) -> tuple[Inputs, Embedding]:
            return signals, embedding

        def forward(z: Tensor, t: Tensor, prepared: tuple[Inputs, Embedding]) -> Tensor:
            network.check_times(z, t)
            signals, embedding = prepared

            def denoise(inputs: Inputs) -> Tensor:
                given = {name: inputs[name] for name in signals}
                ready = network.prepare(given, embedding)
                return network(inputs["z"], inputs["t"], ready)

            return run(denoise, {"z": z, "t": t, **signals}, embedding)

        return _with(network, prepare=prepare, forward=forward)

    def autoencoder(self, network: VideoAutoencoder) -> VideoAutoencoder:
        """Return an autoencoder that decodes by CUDA graphs and encodes as ``network`` does.

        ``network`` itself if it is not on a GPU.
        """
        if not on_gpu(network):
            return network
        run = Graphs()
        return _with(network, decode=lambda z: run(lambda x: network.decode(x["z"]), {"z": z}))


class _Recorded(NamedTuple):
    inputs: Inputs
    replay: Replay
    out: Tensor


class Graphs:
    """Calls functions of tensors by CUDA graphs, recorded once for each key and set of shapes.

    It is called with the function, its tensors by name, and a key that tells functions apart.
    """

    def __init__(self) -> None:
        self._recorded: dict[Any, _Recorded] = {}

    def __call__(
        self, function: Callable[[Inputs], Tensor], inputs: Inputs, key: object = None
    ) -> Tensor:
        """Return ``function(inputs)``, replayed from the graph recorded for ``key`` and shapes.

        Functions of equal ``key`` must have equal values for equal inputs.
        """
        shapes = tuple((name, x.dtype, x.shape) for name, x in sorted(inputs.items()))
        with torch.inference_mode(False), torch.no_grad():
            if (found := self._recorded.get((key, shapes))) is None:
                found = self._recorded[key, shapes] = _recorded(function, inputs)
            for name, x in inputs.items():
                found.inputs[name].copy_(x)
            found.replay()
            return found.out.clone()


def _recorded(function: Callable[[Inputs], Tensor], inputs: Inputs) -> _Recorded:
    own = {name: x.clone() for name, x in inputs.items()}
    return _Recorded(own, *record(lambda: function(own)))


def record(run: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
    """Record a call on the current GPU.

    Returns a function that replays it, and the tensor that each replay fills.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()
    return graph.replay, out


def on_gpu(network: nn.Module) -> bool:
    """Whether a network is on a GPU; logs a warning, that it runs without graphs, if it is not."""
    device = next(network.parameters()).device
    if device.type != "cuda":
        _say_once(device)
    return device.type == "cuda"


@functools.lru_cache(maxsize=8)
def _say_once(device: torch.device) -> None:
    LOGGER.warning("CUDA graphs need a GPU; networks on %s run without them", device)


def _with(network: Any, **methods: Callable[..., Any]) -> Any:
    """Shallow copy of a network, which shares its weights, with ``methods`` instead of its own."""
    changed = copy.copy(network)
    vars(changed).update(methods)
    return changed
