"""Compare generated with real videos: FVD and KVD, with 95 % intervals and a floor.

python examples/evaluate_folder.py footage out --protocol trial

``footage`` and ``out`` are folders of videos of one size; an array file or a synthetic data set
such as sky:test will do too. The floor is the same distance between two sets of real videos. FVD
needs the weights of I3D; the protocol ``trial`` works without, but its numbers mean nothing.
"""

import argparse
from pathlib import Path

from longtake.evaluation.evaluate import evaluate
from longtake.evaluation.extraction import FeatureCache
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.opening import open_videos
from longtake.evaluation.protocols import protocol


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real")
    parser.add_argument("generated")
    parser.add_argument("--protocol", default="longtake", help="trial uses random features")
    parser.add_argument("--changes", nargs="*", default=[], help="of the protocol: frames=8")
    parser.add_argument("--n", type=int, help="clips per side")
    parser.add_argument("--cache", type=Path, help="folder of features, to continue after a stop")
    args = parser.parse_args()

    chosen = protocol(args.protocol, args.changes, n=args.n)
    settings = EvaluationSettings(cache=FeatureCache(folder=args.cache))
    sources = open_videos(args.real), open_videos(args.generated)
    result = evaluate(*sources, chosen, ["fvd", "kvd"], settings)
    print(f"protocol {result.protocol_hash}")
    for name, score in result.scores.items():
        print(f"{name}: {score.value:.1f} ({score.low} to {score.high}), floor {score.floor}")


if __name__ == "__main__":
    main()
