#!/usr/bin/env bash
# openvino 2026.4.1: `import openvino` writes a client id into the home folder and sends an event to
# Google Analytics, without asking.
#
# Expected: importing a library that runs networks on the local processor touches neither the network
#   nor the home folder; usage statistics, if any, are asked for, or sent by its command-line tools.
# Happens: the package depends on openvino-telemetry. Importing openvino imports the model converter,
#   whose `__init__` sends the event "ov import general_import". No file of consent counts as consent.
#   A child process sends it, so hooks in the importing process see nothing.
# Seen: `~/intel/openvino_ga_cid` and `~/intel/stats` appear; the child requests
#   https://www.google-analytics.com/mp/collect (with no network the request fails in silence).
# Consequence: a tool that promises no network at import breaks the promise by importing openvino; on
#   machines without network each import starts a process that fails; home folders that cannot be
#   written cost a warning.
# Way around: `sys.modules["openvino_telemetry"] = None` before the import (the package then uses its
#   own stub), or `opt_in_out --opt_out` once for each user.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile openvino==2026.4.1 openvino-telemetry==2025.2.0 numpy==2.4.6
mkdir "$work/site" "$work/plain" "$work/silent"
cat > "$work/site/sitecustomize.py" <<'PY'
import os
import sys


def note(event, arguments):
    if event == "urllib.Request":
        with open(os.environ["SEEN"], "a") as file:
            print(arguments[0].partition("?")[0], file=file)


sys.addaudithook(note)
PY
run() {
    touch "$work/$1.seen"
    HOME="$work/$1" SEEN="$work/$1.seen" PYTHONPATH="$work/site" "$work/venv/bin/python" -c "
import sys, time
$2
import openvino
time.sleep(3)
"
    sleep 2
    echo "$1: requests: $(sort -u "$work/$1.seen" | tr '\n' ' ') files: $(cd "$work/$1" && find . -type f | tr '\n' ' ')"
}
run plain ""
grep -q '^https://www.google-analytics.com/mp/collect$' "$work/plain.seen"
test -f "$work/plain/intel/openvino_ga_cid"
run silent "sys.modules['openvino_telemetry'] = None"
test ! -s "$work/silent.seen"
test ! -e "$work/silent/intel"
echo "as described: importing openvino sends an event unless its telemetry package is hidden"
