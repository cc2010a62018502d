"""Run one function in this process and say what it took: `python -m benchmarks.child`.

The job comes as a line of JSON on standard input, so that no password is on a command line. Modules are
imported before the clock runs; connections are opened while it does. The answer is a line of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time

from benchmarks import memory


def main() -> None:
    # What the work prints must not get between the lines of the answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    sys.path[:0] = job["paths"]
    module, name = job["function"].split(":")
    work = getattr(importlib.import_module(module), name)
    before = memory.settle()
    answers.write("ready\n")
    answers.flush()
    sys.stdin.readline()
    worked = time.process_time()
    began = time.monotonic()
    value = work(**job["arguments"])
    ended = time.monotonic()
    said = {
        "began": began,
        "ended": ended,
        "cpu": time.process_time() - worked,
        "value": value,
        "before": before,
        "peak": memory.peak(),
    }
    answers.write(json.dumps(said) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
