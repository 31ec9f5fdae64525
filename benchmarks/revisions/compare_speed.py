"""How fast two revisions' UNets are, in one run on this machine.

    cd benchmarks/revisions
    python compare_speed.py cf41d99 HEAD
    python compare_speed.py cf41d99 .      # against the working tree
    python compare_speed.py HEAD HEAD      # how far equal code differs here

Each revision is checked out into a temporary folder and has a process a network, which runs that
revision's own ``benchmarks/networks.py``. The processes take turns, so that only one computes at a
time, and the first of a pair is the other's in the next round. A ratio is the time before over the
time after: above 1 the second revision is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from compare_revisions import checked_out, commit

WORKER = """
import sys, torch
sys.path.insert(0, sys.argv[1])
import networks
from networks import CLOCKS, PAIRS, forward, timed, training_step
torch.set_num_threads(int(sys.argv[4]))
torch.manual_seed(0)
pair = PAIRS[sys.argv[2]](int(sys.argv[3]), int(sys.argv[5]))
pair.plain.clear()
ours = pair.run(pair.ours)
runs = {"forward": forward(ours), "training step": training_step(pair.ours, ours)}
for line in sys.stdin:
    print(timed(runs[line.strip()], CLOCKS[sys.argv[6]]), flush=True)
"""


def main() -> None:
    args = arguments()
    rows: list[dict] = []
    for network in args.network:
        with ExitStack() as stack:
            trees = [stack.enter_context(checked_out(r)) for r in (args.before, args.after)]
            workers = [stack.enter_context(worker(tree, network, args)) for tree in trees]
            for what in ("forward", "training step"):
                pairs = in_turn(workers, what, args.rounds)
                rows.append(
                    {"network": f"{network} {args.channels}", "what": what} | figures(pairs)
                )
                print(*(f"{v:.3f}" if isinstance(v, float) else v for v in rows[-1].values()))
    if args.json:
        about = {name: commit(getattr(args, name)) for name in ("before", "after")}
        about |= {name: getattr(args, name) for name in ("threads", "batch", "rounds", "clock")}
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("before", help="a revision, or . for the working tree")
    parser.add_argument("after")
    parser.add_argument("--network", nargs="+", choices=["lvdm", "pvdm"], default=["lvdm", "pvdm"])
    parser.add_argument("--channels", type=int, default=64, help="of the first level")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    return parser.parse_args()


@contextmanager
def worker(tree: Path, network: str, args: argparse.Namespace) -> Iterator["subprocess.Popen[str]"]:
    """A process that times a revision's network whenever it is asked."""
    numbers = (args.channels, args.threads, args.batch)
    command = [sys.executable, "-c", WORKER, str(tree / "benchmarks"), network]
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    with subprocess.Popen(
        [*command, *map(str, numbers), args.clock],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def in_turn(workers: list["subprocess.Popen[str]"], what: str, rounds: int) -> list[list[float]]:
    """Seconds before and after, a pair a round; two rounds warm up."""
    pairs: list[list[float]] = []
    for number in range(rounds + 2):
        order = (0, 1) if number % 2 else (1, 0)
        seconds = {i: asked(workers[i], what) for i in order}
        pairs.append([seconds[0], seconds[1]])
    return pairs[2:]


def asked(process: "subprocess.Popen[str]", what: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(what + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def figures(pairs: list[list[float]]) -> dict[str, float]:
    """Medians in milliseconds, and the median and quartiles of the pairs' ratios."""
    ratios = sorted(before / after for before, after in pairs)
    quarter = len(ratios) // 4
    return {
        "before_ms": 1e3 * statistics.median(before for before, _ in pairs),
        "after_ms": 1e3 * statistics.median(after for _, after in pairs),
        "ratio": statistics.median(ratios),
        "ratio_from": ratios[quarter],
        "ratio_to": ratios[-1 - quarter],
    }


if __name__ == "__main__":
    main()
