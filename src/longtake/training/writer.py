"""Writes the checkpoints of a run: small states at once, large ones in the background.

Above a size, the state is copied to CPU memory and written while training continues. Of several
processes each writes its shards, by ``torch.distributed.checkpoint``. Of its formats only that of
Hugging Face is used, which is safetensors with the places of shards as JSON in their headers: the
others hold a pickle.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from longtake.checkpoint import (
    CheckpointError,
    file_hash,
    sort_metadata,
    whole_folder,
    write_tensors,
)
from longtake.distributed import Ranks
from longtake.files import remove
from longtake.training.checkpoint import (
    AVERAGE,
    GATHERED,
    STATE,
    WEIGHTS,
    StateFile,
    TrainState,
    by_file,
    moments_file,
    parameters_of,
    weights_of,
)


class Writer:
    """Writes checkpoints of one run; all ranks take part.

    Args:
        above_gb: size of the state, in GB, above which it is written in the background.
        ranks: processes of the run, each of which writes its shards.
    """

    def __init__(self, ranks: Ranks, above_gb: float) -> None:
        self._ranks, self._above_bytes = ranks, above_gb * 1e9
        self._group: Any = None
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[Any] | None = None

    def save(
        self, folder: Path, state: TrainState, then: Callable[[], None] = lambda: None
    ) -> None:
        """Write ``state`` as a checkpoint to ``folder``, at once or in the background.

        ``then`` is called on the main rank when the checkpoint is whole.

        Raises:
            CheckpointError: this checkpoint, or the one before it, cannot be written.
        """
        self.wait()
        if _bytes(state) <= self._above_bytes:
            settings, tensors = _contents(state, GATHERED)
            if self._ranks.main:
                _write_whole(folder, settings, tensors)
                then()
            self._ranks.barrier()
        elif self._ranks.size == 1:
            settings, tensors = _contents(state, GATHERED)
            copies = {name: x.to("cpu", copy=True) for name, x in tensors.items()}
            write = partial(_write_whole, folder, settings, copies)
            self._pending = self._thread.submit(_in_turn, write, then)
        else:
            self._save_shards(folder, state, then)

    def _save_shards(self, folder: Path, state: TrainState, then: Callable[[], None]) -> None:
        settings, tensors = _contents(state, {})
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
        """End the background work after an error elsewhere; its own errors are ignored."""
        with suppress(Exception):
            self.wait()
        self._thread.shutdown()

    def _written(self, place: Path, tensors: dict[str, Tensor]) -> Future[Any]:
        """Begin to write the shards of all ranks to ``place``; return a future of the end."""
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import async_save

        if self._group is None:
            self._group = self._ranks.background_group()
        saved: Any = async_save(
            {name: x.contiguous() for name, x in tensors.items()},
            storage_writer=HuggingFaceStorageWriter(str(place), save_distributed=True),
            process_group=self._group,
        )
        return saved


def _in_turn(*actions: Callable[[], None]) -> None:
    for act in actions:
        act()


def _finish(written: Future[Any], shards: Path, folder: Path, settings: StateFile) -> None:
    """Wait until all shards are written, then make the checkpoint ``folder`` of them."""
    written.result()
    with whole_folder(folder, overwrite=True) as place:
        for path in sorted(shards.glob("*.safetensors")):
            sort_metadata(path)
            settings.files[path.name] = file_hash(path)
            path.replace(place / path.name)
        (place / STATE).write_text(settings.model_dump_json(), encoding="utf-8")
    remove(shards)


def _write_whole(folder: Path, settings: StateFile, tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint of whole tensors, by ``STEM/NAME``, complete or not at all."""
    with whole_folder(folder, overwrite=True) as partial:
        for stem, own in by_file(tensors).items():
            write_tensors(partial / f"{stem}.safetensors", own)
        settings.files = {path.name: file_hash(path) for path in sorted(partial.iterdir())}
        (partial / STATE).write_text(settings.model_dump_json(), encoding="utf-8")


def _bytes(state: TrainState) -> int:
    """Size of a state in bytes, on all ranks together."""
    moments = [own.values() for o in state.optimizers.values() for own in o.state.values()]
    tensors = [*state.method.module.state_dict().values(), *(x for own in moments for x in own)]
    tensors += state.ema.shadow if state.ema else []
    return sum(x.numel() * x.element_size() for x in tensors)


def _contents(state: TrainState, options: Mapping[str, Any]) -> tuple[StateFile, dict[str, Tensor]]:
    """Contents of ``state.json``, hashes of files aside, and all tensors, by ``STEM/NAME``.

    STEM is that of the tensor's file. ``options`` are those of ``weights_of``.
    """
    from torch.distributed.checkpoint import state_dict

    given = state_dict.StateDictOptions(**options)
    method, ema = state.method, state.ema
    tensors = _named(WEIGHTS, weights_of(method.module, options))
    moments: dict[str, Any] = {
        name: state_dict.get_optimizer_state_dict(method.module, optimizer, options=given)
        for name, optimizer in state.optimizers.items()
        if optimizer.state  # reading the state of an unused optimizer would initialize it
    }
    moments = {name: values for name, values in moments.items() if values}  # of the main rank
    for name, values in moments.items():  # parameter.moment, e.g. conv.weight.exp_avg
        own = values["state"]
        flat = {f"{p}.{moment}": x for p in own for moment, x in own[p].items()}
        tensors |= _named(moments_file(name), flat)
    if ema is not None:
        ema.swap()  # on a CPU, gathered weights are the parameters' own memory
        average = {name: x.clone() for name, x in weights_of(method.exported, options).items()}
        tensors |= _named(AVERAGE, average)
        ema.swap()
    groups = {name: values["param_groups"] for name, values in moments.items()}
    held = {name: values["state"].keys() for name, values in moments.items()}
    settings = StateFile(
        step=state.step,
        updates=ema.updates if ema else 0,
        settings=groups,
        unused={n: (*sorted(parameters_of(groups[n]) - held[n]),) for n in groups},
        monitor=method.monitor.state() if method.monitor else {},
    )
    return settings, tensors


def _named(file: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{Path(file).stem}/{name}": x for name, x in tensors.items()}
