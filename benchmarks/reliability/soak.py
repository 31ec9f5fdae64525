"""Makes the same clips again and again under load; names the stage at which bits part.

    python benchmarks/reliability/soak.py --minutes 60 --keep odd --json docs/results/soak.json

Each round samples clips of tiny models, volumes and planes, decodes them, turns them to pixels and
to YUV, and writes mp4 and mkv files, while other videos are encoded in between. Beside it,
``--load`` processes keep the cores busy, and another one takes, fills and frees ``--memory`` MiB
again and again. What differs from the first round is kept with the first round's, a file a stage.
With ``--json``, the row replaces one of the same load, if there is any.
"""

import argparse
import hashlib
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from av.video.frame import VideoFrame

sys.path.append(str(Path(__file__).parents[1]))
from memory import triplane, volume

from longtake.model import VideoModel
from longtake.rollout import State
from longtake.video import VideoWriter
from longtake.video.decode import Converter

FRAMES = 32
STAGES = ("latents", "decoded", "pixels", "yuv", "mp4", "mkv")


def main() -> None:
    """Print odd stages as they come, then the counts."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--load", type=int, default=2, help="processes that keep cores busy")
    parser.add_argument("--memory", type=int, default=2048, help="MiB that a process takes; or 0")
    parser.add_argument("--keep", type=Path, default=Path("odd"), help="folder of what differs")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * chosen.minutes
    work = [spin] * chosen.load + [partial(press, chosen.memory)] * (chosen.memory > 0)
    beside = [multiprocessing.Process(target=each, daemon=True) for each in work]
    for process in beside:
        process.start()
    models = {each.__name__: each() for each in (volume, triplane)}
    first: dict[str, bytes] = {}
    odd, rounds = Counter[str](), 0
    with TemporaryDirectory() as temporary, torch.inference_mode():
        for rounds in count():
            if time.monotonic() > until:
                break
            for name, model in models.items():
                for stage, data in stages(model, rounds % 4, Path(temporary)):
                    place = f"{name}_seed{rounds % 4}.{stage}"
                    if first.setdefault(place, data) != data:
                        odd[stage] += 1
                        keep(chosen.keep, place, rounds, first[place], data)
                        break  # the stages after it follow from it
                disturb(rounds, Path(temporary))
    counts = {stage: odd[stage] for stage in STAGES}
    print(f"{rounds} rounds of {len(models)} videos; odd by stage: {counts}")
    if chosen.json:
        load = {"load": chosen.load, "memory_mb": chosen.memory}
        row = {"minutes": chosen.minutes, **load, "rounds": rounds}
        row |= {"videos": rounds * len(models), "torch": torch.__version__, "odd": counts}
        known = json.loads(chosen.json.read_text())["rows"] if chosen.json.exists() else []
        others = [each for each in known if {key: each[key] for key in load} != load]
        chosen.json.write_text(json.dumps({"rows": [*others, row]}, indent=1) + "\n")
    for process in beside:
        process.terminate()


def stages(model: VideoModel, seed: int, folder: Path) -> Iterator[tuple[str, bytes]]:
    """What each stage makes of a seed, in order."""
    torch.manual_seed(seed)
    video, request = model.long_video(), model.request(seeds=[seed])
    chunk = next(iter(video.rollout(video.samplers, request, State(), None)))
    yield "latents", chunk.z.numpy().tobytes()
    parts = [*video(request, FRAMES)]
    yield "decoded", torch.cat([part.pixels for part in parts], 2).numpy().tobytes()
    frames = np.concatenate([part.frames[0] for part in parts])[:FRAMES]
    yield "pixels", frames.tobytes()
    yield "yuv", yuv(frames)
    for suffix in ("mp4", "mkv"):
        path = folder / f"video.{suffix}"
        with VideoWriter(path, 8.0, overwrite=True) as writer:
            writer.write(frames)
        yield suffix, path.read_bytes()


def yuv(frames: np.ndarray) -> bytes:
    convert = Converter()
    made = (VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames)
    return b"".join(convert(frame, format="yuv420p").to_ndarray().tobytes() for frame in made)


def disturb(number: int, folder: Path) -> None:
    """Encode another video, of another size, so that memory is not what it was."""
    random = np.random.default_rng(number)
    side = int(random.choice([16, 32, 64, 96]))
    with VideoWriter(folder / "other.mp4", 8.0, overwrite=True) as writer:
        writer.write(random.integers(256, size=(24, side, side, 3), dtype=np.uint8))


def keep(folder: Path, place: str, number: int, expected: bytes, got: bytes) -> None:
    """Write both versions of a stage, and say where they part."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (("first", expected), (f"round{number}", got)):
        (folder / f"{place}.{name}").write_bytes(data)
    parted = next((i for i, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), -1)
    marks = [hashlib.sha256(data).hexdigest()[:12] for data in (expected, got)]
    print(
        f"round {number}: {place} differs from byte {parted} on ({' and '.join(marks)})", flush=True
    )


def press(megabytes: int) -> None:
    """Take memory, fill it and free it, in parts of other sizes each time."""
    sizes = np.random.default_rng(0)
    while True:
        left, parts = megabytes << 20, []
        while left > 0:
            parts.append(np.full(min(left, int(sizes.integers(1 << 16, 1 << 26))), 1, np.uint8))
            left -= parts[-1].nbytes


def spin() -> None:
    """Keep a core busy with matrix products."""
    torch.set_num_threads(1)
    matrix = torch.rand(256, 256)
    while True:
        matrix = (matrix @ matrix).clamp(0, 1)


if __name__ == "__main__":
    main()
