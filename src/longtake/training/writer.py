"""Writes the checkpoints of a run: small states at once, large ones in the background.

Above a size, the state is copied to CPU memory and written while training goes on. Of several
processes each writes its shards, by ``torch.distributed.checkpoint``. Of its formats only that of
Hugging Face is used, which is safetensors with the places of shards as JSON in their headers: the
others hold a pickle.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from longtake.checkpoint import CheckpointError, file_hash, sort_metadata, whole_folder
from longtake.distributed import Ranks
from longtake.files import remove
from longtake.training import checkpoint
from longtake.training.checkpoint import STATE, StateFile, TrainState


class Writer:
    """Writes checkpoints of one run; all ranks take part.

    Args:
        above_gb: size of the state above which it is written in the background.
    """

    def __init__(self, ranks: Ranks, above_gb: float) -> None:
        self._ranks, self._above_bytes = ranks, above_gb * 1e9
        self._group: Any = None
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[Any] | None = None

    def save(
        self, folder: Path, state: TrainState, then: Callable[[], None] = lambda: None
    ) -> None:
        """Write a checkpoint; ``then`` is called on the main rank when it is whole."""
        self.wait()
        settings, tensors = checkpoint.sharded(state)
        if sum(x.numel() * x.element_size() for x in tensors.values()) <= self._above_bytes:
            checkpoint.save(folder, state, self._ranks)
            if self._ranks.main:
                then()
        elif self._ranks.size == 1:
            copies = {name: x.detach().to("cpu", copy=True) for name, x in tensors.items()}
            write = partial(checkpoint.write, folder, settings, copies)
            self._pending = self._thread.submit(_in_turn, write, then)
        else:
            self._save_shards(folder, settings, tensors, then)

    def _save_shards(
        self,
        folder: Path,
        settings: StateFile,
        tensors: dict[str, Tensor],
        then: Callable[[], None],
    ) -> None:
        settings.shapes = {name: tuple(x.shape) for name, x in tensors.items()}
        place = folder.with_name(f".{folder.name}.shards.partial")
        if self._ranks.main:
            remove(place)
        self._ranks.barrier()
        self._pending = written = self._written(place, tensors)
        if self._ranks.main:
            finish = partial(_finish, written, place, folder, settings)
            self._pending = self._thread.submit(_in_turn, finish, then)

    def wait(self) -> None:
        """Wait until the last checkpoint is whole; CheckpointError if it cannot be written."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        from torch.distributed.checkpoint.api import CheckpointException

        try:
            pending.result()
        except CheckpointException as error:
            reasons = {str(reason) for reason, _ in error.failures.values()}
            raise CheckpointError(f"a checkpoint cannot be written ({min(reasons)})") from error
        self._ranks.barrier()

    def close(self) -> None:
        """End the background work after an error, which hides one of its own."""
        with suppress(Exception):
            self.wait()
        self._thread.shutdown()

    def _written(self, place: Path, tensors: dict[str, Tensor]) -> Future[Any]:
        """Write the shards of all ranks in the background."""
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import async_save

        if self._group is None:
            self._group = self._ranks.background_group()
        saved: Any = async_save(
            tensors,
            storage_writer=HuggingFaceStorageWriter(str(place), save_distributed=True),
            process_group=self._group,
        )
        return saved


def _in_turn(*actions: Callable[[], None]) -> None:
    for act in actions:
        act()


def _finish(written: Future[Any], shards: Path, folder: Path, settings: StateFile) -> None:
    """Make a checkpoint of the shards when all are written."""
    written.result()
    with whole_folder(folder, overwrite=True) as place:
        for path in sorted(shards.glob("*.safetensors")):
            sort_metadata(path)
            settings.files[path.name] = file_hash(path)
            path.replace(place / path.name)
        (place / STATE).write_text(settings.model_dump_json())
    remove(shards)
