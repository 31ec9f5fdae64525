"""Golden tensors of the official implementations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).parent.parent
FOLDERS = (ROOT.parent / "shared" / "goldens", ROOT / "tests" / "goldens")


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One case: tensors ``in.*``, ``out.*``, ``act.*``, ``sd.*`` and its description."""

    info: dict[str, Any]
    tensors: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def weights(self, prefix: str = "") -> dict[str, Tensor]:
        """Official state dict below ``prefix``."""
        start = f"sd.{prefix}"
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}

    def close(self, name: str, got: Tensor) -> None:
        """Compare with ``out.name`` or ``act.name`` at the tolerance that the case states."""
        want = self.tensors.get(f"out.{name}", self.tensors.get(f"act.{name}"))
        assert want is not None, f"no tensor {name}"
        stated = self.info.get("tolerance", {})
        stated = (
            stated.get(name, stated.get(f"act.{name}", stated)) if isinstance(stated, dict) else {}
        )
        atol = stated.get("atol", 1e-4) if isinstance(stated, dict) else 1e-4
        torch.testing.assert_close(
            got.detach().to(want.dtype), want, atol=atol, rtol=self.info.get("rtol", 1e-3)
        )
