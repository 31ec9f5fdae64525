"""Ask a server for a video and write it to a file; needs only the standard library.

First, in another terminal: longtake serve lvdm-sky
python examples/client.py --prompt "day, clear, left" --seconds 4 --out sky.mp4

If the server has a token, set the environment variable LONGTAKE_TOKEN to it.
"""

import argparse
import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="http://127.0.0.1:8643")
    parser.add_argument("--model", help="default: the first that the server offers")
    parser.add_argument("--prompt", default="", help="text, or words of a class")
    parser.add_argument("--seconds", default="4")
    parser.add_argument("--out", type=Path, default=Path("video.mp4"))
    args = parser.parse_args()

    def ask(path: str, body: Any = None) -> bytes:
        request = urllib.request.Request(f"{args.server}/v1/videos{path}")
        request.add_header("Authorization", f"Bearer {os.environ.get('LONGTAKE_TOKEN', '')}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    wanted = {"model": args.model, "prompt": args.prompt, "seconds": args.seconds}
    video = json.loads(ask("", wanted))
    while video["status"] in ("queued", "in_progress"):
        print(f"{video['status']}: {video['progress']} %")
        time.sleep(0.5)
        video = json.loads(ask(f"/{video['id']}"))
    if video["error"]:
        raise SystemExit(video["error"]["message"])
    args.out.write_bytes(ask(f"/{video['id']}/content"))
    print(f"{args.out}: {video['seconds']} s of {video['size']}")


if __name__ == "__main__":
    main()
