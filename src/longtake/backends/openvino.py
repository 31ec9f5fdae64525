"""Networks as OpenVINO programs: exported for each input shape, checked against PyTorch, cached."""

import copy
import importlib.util
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from longtake.autoencoders.base import VideoAutoencoder
from longtake.backends.base import BackendError
from longtake.checkpoint import weights_hash
from longtake.config import digest
from longtake.diffusion.process import Denoiser, Embedding
from longtake.files import put, user_cache

LOGGER = logging.getLogger("longtake")
TOLERANCE = 2e-6
"""Largest accepted difference of a float32 program's outputs from PyTorch's, divided by the largest
output or by 1."""
ROUNDING = 3.0
"""Or how many times further from float64's outputs than PyTorch's in float32 they may be: of twelve
batches of latents that the decoder of pvdm-marbles decoded, at most 1.6 times."""
PROGRAM = "program.xml"
COMPILED = "compiled"  # beginning of the names of folders beside it, one for each set of settings
ARGUMENT = "tensors_"  # what torch.export names the positional arguments of ``*tensors``
FORMAT = 1
HINTS = {"float32": "f32", "bfloat16": "bf16"}
PROBES = 33  # times whose embeddings tell one schedule's from another's

Inputs = Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class OpenVINO:
    """Runs denoisers and decoders on a CPU by Intel's OpenVINO (extra ``fast``).

    A network is compiled to a program for each shape of its inputs. Exporting one takes 10 to
    20 seconds for a network of ``lvdm-sky`` and up to two minutes for one of ``pvdm-sky``; the
    program is stored in ``folder``, under a hash of weights, shapes and versions, if its output
    equals PyTorch's up to rounding. If not, the call of the network raises a BackendError.

    Attributes:
        precision: precision of the computation. ``bfloat16`` is float32 on CPUs without bfloat16
            instructions, which is logged once. Weights and results are in float32.
        threads: number of threads; None: as many as PyTorch has.
        folder: folder of the programs.
        say: called with a line of text before a program is exported.

    Raises:
        BackendError: openvino is not installed.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = None
    folder: Path = field(default_factory=lambda: cache_folder())
    say: Callable[[str], None] = LOGGER.info

    def __post_init__(self) -> None:
        if importlib.util.find_spec("openvino") is None:
            raise BackendError("openvino is not installed: pip install 'longtake[fast]'")
        if self.precision == "bfloat16" and not has_bfloat16():
            LOGGER.warning("this CPU has no bfloat16 instructions: OpenVINO computes in float32")

    @property
    def device(self) -> str:
        """Device that models are opened on unless another is named: ``cpu``."""
        return "cpu"

    @property
    def identity(self) -> Mapping[str, Any]:
        """Name, precision and version of OpenVINO, as JSON data."""
        version = _openvino().__version__
        return {"name": "openvino", "precision": self.precision, "version": version}

    def denoiser(self, network: Denoiser) -> Denoiser:
        """Return a denoiser with the predictions of ``network``, which OpenVINO runs.

        Raises:
            BackendError: the network is not in float32 on a CPU.
        """
        _check_place(network)
        run = Programs(self, _Denoise, network)

        def prepare(signals: Inputs, embedding: Embedding) -> tuple[Inputs, Embedding]:
            return signals, embedding

        def forward(z: Tensor, t: Tensor, prepared: tuple[Inputs, Embedding]) -> Tensor:
            network.check_times(z, t)
            signals, embedding = prepared
            return run({"z": z, "t": t.to(z.dtype), **signals}, embedding)

        return _with(network, prepare=prepare, forward=forward)

    def autoencoder(self, network: VideoAutoencoder) -> VideoAutoencoder:
        """Return an autoencoder that decodes by OpenVINO and encodes as ``network`` does.

        Raises:
            BackendError: the network is not in float32 on a CPU.
        """
        _check_place(network)
        run = Programs(self, _Decode, network)
        return _with(network, decode=lambda z: run({"z": z}))


def cache_folder() -> Path:
    """Default folder of exported OpenVINO programs, in the user's cache folder."""
    return user_cache() / "openvino"


def has_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this CPU."""
    return "BF16" in _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Programs:
    """One function of a network, compiled to a program for each set of input shapes.

    Args:
        backend: how programs are compiled and where they are stored.
        function: takes the network, the names of its inputs and an embedding, and makes a module
            whose inputs are in the order of these names.
        network: the network that the function calls.
    """

    def __init__(self, backend: OpenVINO, function: "type[_Function]", network: nn.Module) -> None:
        self._backend, self._function, self._network = backend, function, network
        self._weights: str | None = None
        self._compiled: dict[Any, _Program] = {}

    def __call__(self, inputs: Inputs, embedding: Embedding | None = None) -> Tensor:
        """Value of the function for ``inputs`` and the ``embedding`` of times (None: a decoder).

        The first call with these shapes compiles the program, and exports it if it is not stored.

        Raises:
            BackendError: the exported program's output differs from PyTorch's.
        """
        shapes = tuple((name, x.dtype, x.shape) for name, x in sorted(inputs.items()))
        if (shapes, embedding) not in self._compiled:
            self._compiled[shapes, embedding] = self._open(inputs, embedding)
        return self._compiled[shapes, embedding]([x for _, x in sorted(inputs.items())])

    def _key(self, inputs: Inputs, embedding: Embedding | None) -> str:
        """Hash of all that a program depends on; an embedding is represented by its values."""
        if self._weights is None:
            self._weights = weights_hash(self._network)
        times = torch.linspace(0, 1, PROBES)
        return digest(
            {
                "format": FORMAT,
                "function": self._function.__name__,
                "network": repr(getattr(self._network, "config", self._network)),
                "weights": self._weights,
                "inputs": {k: [str(v.dtype), *v.shape] for k, v in sorted(inputs.items())},
                "embedding": None if embedding is None else embedding(times).tolist(),
                "versions": [torch.__version__, _openvino().__version__],
            }
        )

    def _open(self, inputs: Inputs, embedding: Embedding | None) -> "_Program":
        path = self._backend.folder / self._key(inputs, embedding) / PROGRAM
        if not path.exists():
            self._export(path, inputs, embedding)
        return _Program(path, self._backend.precision, self._backend.threads, keep=True)

    def _export(self, path: Path, inputs: Inputs, embedding: Embedding | None) -> None:
        """Export a program, check its output against PyTorch's, and write it to ``path``.

        The output may differ from PyTorch's in float32 by ``TOLERANCE``, or from float64's by the
        larger of ``TOLERANCE`` and ``ROUNDING`` times what PyTorch's in float32 differs from it.
        """
        name, names = type(self._network).__name__, sorted(inputs)
        self._backend.say(f"exporting {name} to OpenVINO, once, into {self._backend.folder}")
        function = self._function(self._network, names, embedding).eval()
        openvino, folder = _openvino(), self._backend.folder
        folder.mkdir(parents=True, exist_ok=True)
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast("cpu", enabled=False),  # a training in bfloat16 may be the caller
            TemporaryDirectory(dir=folder) as place,
        ):
            tensors = tuple(inputs[name].clone() for name in names)
            expected = function(*tensors)
            model = _converted(function, tensors)
            sizes = {f"{ARGUMENT}{number}": list(x.shape) for number, x in enumerate(tensors)}
            read = [name for each in model.inputs for name in each.get_names()]
            model.reshape({name: sizes[name] for name in read})  # fixed shapes are faster
            partial = Path(place) / path.parent.name
            openvino.save_model(model, partial / PROGRAM, compress_to_fp16=False)
            program = _Program(partial / PROGRAM, "float32", self._backend.threads)
            found = program(tensors)
            if not distance(found, expected) <= TOLERANCE:
                check_rounding(name, found, expected, self._exact(inputs, embedding))
            put(partial, path.parent)

    def _exact(self, inputs: Inputs, embedding: Embedding | None) -> Tensor:
        """Value of the function as PyTorch computes it in float64."""
        names, network = sorted(inputs), copy.deepcopy(self._network).double()
        double = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
        return self._function(network, names, embedding).eval()(*(double[k] for k in names))


def distance(found: Tensor, expected: Tensor) -> float:
    """Greatest difference, relative to the largest expected value or 1 if that is more."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1))


def check_rounding(name: str, found: Tensor, expected: Tensor, exact: Tensor) -> None:
    """Raise an error if a program's output is further from the exact one than rounding explains.

    Args:
        name: the network's, for the error.
        found: output of the program.
        expected: PyTorch's in float32.
        exact: PyTorch's in float64.

    Raises:
        BackendError: ``found`` differs from ``exact`` by more than ``TOLERANCE`` and by more than
            ``ROUNDING`` times what ``expected`` does.
    """
    far, usual = distance(found, exact), distance(expected, exact)
    if not far <= (most := max(TOLERANCE, ROUNDING * usual)):
        raise BackendError(
            f"OpenVINO's program of {name} differs from torch in float64 by {far:.1e} of its "
            f"largest output, more than {most:.0e}; use backend=None"
        )


def _converted(function: nn.Module, tensors: tuple[Tensor, ...]) -> Any:
    """Convert a module of positional tensors to an OpenVINO model, for tensors of these shapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about its own classes
        exported = torch.export.export(function, tensors, strict=False)
        return _openvino().convert_model(exported)


class _Program:
    """OpenVINO program compiled for the CPU, and called with tensors; it may read some only.

    With ``keep`` the compiled program is stored beside ``path``, and read from there if it is.
    """

    def __init__(
        self, path: Path, precision: str, threads: int | None, *, keep: bool = False
    ) -> None:
        settings = {
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": HINTS[precision],
        }
        compiled = _compile_and_keep if keep else _compile
        self._compiled = compiled(path, settings)
        names = [name for each in self._compiled.inputs for name in each.get_names()]
        self._read = [int(name.removeprefix(ARGUMENT)) for name in names]

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        arrays = [tensors[number].contiguous().numpy() for number in self._read]
        return torch.from_numpy(self._compiled(arrays)[0].copy())


def _compile(path: Path, settings: Mapping[str, Any]) -> Any:
    return _openvino().Core().compile_model(path, "CPU", dict(settings))


def _compile_and_keep(path: Path, settings: Mapping[str, Any]) -> Any:
    """Compile a program, or read it from OpenVINO's model cache, which is kept beside it.

    The cache is moved into its place when it is whole, so that no killed process leaves half of it.
    """
    kept = path.parent / f"{COMPILED}_{digest(settings)}"
    if kept.exists():
        return _compile(path, {**settings, "CACHE_DIR": str(kept)})
    made = None
    with suppress(OSError), TemporaryDirectory(dir=path.parent) as place:  # may not be writable
        made = _compile(path, {**settings, "CACHE_DIR": f"{place}/cache"})
        put(Path(place) / "cache", kept)
    return made or _compile(path, settings)


class _Function(nn.Module):
    """Module of positional tensors, by the names ``names``, that calls ``network`` with them."""

    def __init__(self, network: Any, names: Sequence[str], embedding: Any) -> None:
        super().__init__()
        self.network, self._names, self._embedding = network, names, embedding


class _Denoise(_Function):
    """Module that prepares a denoiser's signals and calls the denoiser."""

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self._names, tensors, strict=True))
        z, t = given.pop("z"), given.pop("t")
        return self.network(z, t, self.network.prepare(given, self._embedding))


class _Decode(_Function):
    """Module that calls the decoder of an autoencoder."""

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.network.decode(*tensors)


def _with(network: Network, **methods: Callable[..., Any]) -> Network:
    """Shallow copy of a network, which shares its weights, with ``methods`` instead of its own."""
    changed = copy.copy(network)
    vars(changed).update(methods)
    return changed


def _check_place(network: nn.Module) -> None:
    weight = next(network.parameters())
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        raise BackendError(
            f"OpenVINO runs networks whose weights are float32 on the cpu, these are "
            f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}; open the model with "
            "dtype=torch.float32 and device='cpu', or use backend=None"
        )


def _openvino() -> Any:
    """Import the package openvino without its telemetry, which would send an event on import."""
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))
    import openvino

    return openvino
