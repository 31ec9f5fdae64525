"""Operations that one evaluation of a UNet starts on a CUDA device, counted without one.

    python benchmarks/launches.py                                   # LVDM and PVDM-L, whole
    python benchmarks/launches.py --json docs/results/launches.json

Networks and inputs are meta tensors: they have shapes and dtypes, but no memory, and take the fast
paths of CUDA. A dispatch mode counts every operation that is neither a view nor an allocation, and
the bytes that it reads and writes. An operation is one kernel or a few. At batch 1 a GPU waits for
the host to start them, so that their number decides the time of a step. "plain" is the network
written as the official code is (benchmarks/plain), in float32 and with its weights in bfloat16.

The last rows are the shipped models on a CPU, where operations are counted as Python starts them.

Where meta tensors differ from a GPU: fused attention counts as one operation, its result lies in
memory as fused attention leaves it, and a convolution of a channels-last picture gives one. Our
group norm is two kernels (Triton) and counts as two; PyTorch's counts as one, though it is three.
"""

import argparse
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from pairs import plain_triplane_unet, plain_volume_unet
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from longtake.denoisers import TriplaneUNetConfig, VolumeUNetConfig
from longtake.diffusion import Denoiser, ScaledLinear
from longtake.meta_device import build_empty
from longtake.model import VideoModel
from longtake.nn.kernels import fused_norm

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NO_KERNEL = {"aten::empty", "aten::empty_like", "aten::new_empty", "aten::_unsafe_view"}
WITHOUT_TRITON = "ours, without Triton"
KERNELS = {"longtake::group_norm": 2}


@dataclass
class Operations:
    """Operations by name, and the bytes that they read and write."""

    names: Counter[str] = field(default_factory=Counter)
    moved: int = 0

    def add(self, name: str, *values: Any) -> None:
        self.names[name] += KERNELS.get(name, 1)
        leaves = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
        self.moved += sum(leaf.numel() * leaf.element_size() for leaf in leaves)


class _Dispatched(TorchDispatchMode):
    def __init__(self, found: Operations) -> None:
        super().__init__()
        self.found, self.inside = found, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.name().partition(".")[0]
        counts = not (func.is_view or name in NO_KERNEL or name.startswith("prim::"))
        if counts and not self.inside:
            self.found.add(name, args, kwargs, out)
        if name == "aten::convolution" and any(_channels_last(x) for x in args[:2]):
            with _disable_current_modes():
                out = out.contiguous(memory_format=torch.channels_last)  # as cuDNN leaves it
        return out


def _channels_last(x: Tensor) -> bool:
    channels_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return channels_last and not x.is_contiguous()


class _FusedAttention(TorchFunctionMode):
    """Counts attention as one operation: meta tensors take it apart, a GPU does not."""

    def __init__(self, dispatched: _Dispatched) -> None:
        super().__init__()
        self.dispatched = dispatched

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        self.dispatched.inside += 1
        out = func(*args, **(kwargs or {}))
        out = out.transpose(1, 2).contiguous().transpose(1, 2)  # as fused attention leaves it
        self.dispatched.inside -= 1
        self.dispatched.found.add("attention", args, kwargs, out)
        return out


@contextlib.contextmanager
def counted() -> Iterator[Operations]:
    """Count the operations of the block."""
    found = Operations()
    dispatched = _Dispatched(found)
    with dispatched, _FusedAttention(dispatched):
        yield found


def operations(
    network: nn.Module, shape: tuple[int, ...], batch: int, dtype: torch.dtype
) -> Operations:
    """Operations of one evaluation of a network on the meta device."""
    network = network.to(dtype)
    z = torch.empty(batch, *shape, device="meta", dtype=dtype)
    t = torch.empty(batch, device="meta")
    with torch.no_grad():
        if isinstance(network, Denoiser):
            prepared = network.prepare({}, ScaledLinear().embedding)
            with counted() as found:
                network(z, t, prepared)
        else:
            with counted() as found:
                network(z, t)
    return found


@contextlib.contextmanager
def without_triton() -> Iterator[None]:
    """The fast paths of a CUDA device on which Triton is not installed."""
    usable = fused_norm.usable
    fused_norm.usable = lambda x: False
    try:
        yield
    finally:
        fused_norm.usable = usable


def volume(width: int) -> tuple[nn.Module, nn.Module]:
    config = VolumeUNetConfig(model_channels=width)
    with torch.device("meta"):
        return build_empty(config), plain_volume_unet(config, checkpointed=False)


def triplane(width: int) -> tuple[nn.Module, nn.Module]:
    config = TriplaneUNetConfig(model_channels=width)
    with torch.device("meta"):
        return build_empty(config), plain_triplane_unet(config)


NETWORKS: dict[str, Callable[[int], tuple[nn.Module, nn.Module]]] = {
    "LVDM": volume,
    "PVDM-L": triplane,
}


def rows(width: int = 256, batch: int = 1) -> Iterator[dict[str, Any]]:
    """Counts of each network and dtype, ours and plain."""
    for name, build in NETWORKS.items():
        for precision, dtype in DTYPES.items():
            ours, plain = build(width)
            shape = cast(Denoiser, ours).spec.shape
            sides = ("ours", ours), ("plain", plain), (WITHOUT_TRITON, ours)
            for side, network in sides:
                with without_triton() if side == WITHOUT_TRITON else contextlib.nullcontext():
                    found = operations(network, shape, batch, dtype)
                about = {"network": name, "dtype": precision, "side": side}
                yield about | {
                    "operations": found.names.total(),
                    "gigabytes": round(found.moved / 1e9, 2),
                    "by_name": dict(found.names.most_common()),
                }


def on_cpu() -> Iterator[dict[str, Any]]:
    """Operations that a step of the shipped models' denoisers starts on a CPU, from Python."""
    for name in ("lvdm-sky", "pvdm-sky"):
        model = VideoModel.from_pretrained(name, students=False)
        network = model.denoisers["first"]
        z, t = torch.zeros(1, *network.spec.shape), torch.full((1,), 0.5)
        assert model.index.diffusion is not None
        prepared = network.prepare({}, model.index.diffusion.schedule.embedding)
        with torch.inference_mode():
            network(z, t, prepared)  # what is kept from one step to the next
            with counted() as found:
                network(z, t, prepared)
        yield {
            **{"network": name, "dtype": "float32", "side": "ours, on a CPU"},
            **{"operations": found.names.total(), "gigabytes": round(found.moved / 1e9, 4)},
            "by_name": dict(found.names.most_common()),
        }


def show(rows: list[dict[str, Any]], *, names: bool) -> None:
    """Print a table, and every operation's count if asked for ``names``."""
    print("| network | precision | side | operations | GB read and written |")
    print("| --- | --- | --- | ---: | ---: |")
    for row in rows:
        about = " | ".join(row[key] for key in ("network", "dtype", "side"))
        print(f"| {about} | {row['operations']:,} | {row['gigabytes']:.2f} |")
    for row in rows if names else ():
        print(f"\n{row['network']}, {row['dtype']}, {row['side']}:")
        print(", ".join(f"{count} {name}" for name, count in row["by_name"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=256, help="channels of the first level")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--names", action="store_true", help="print every operation's count")
    parser.add_argument("--json", type=Path, help="write the table here too")
    args = parser.parse_args()
    found = [*rows(args.width, args.batch), *on_cpu()]
    show(found, names=args.names)
    if args.json:
        about = {"torch": torch.__version__, "width": args.width, "batch": args.batch}
        args.json.write_text(json.dumps(about | {"rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
