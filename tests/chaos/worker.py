"""A worker as Airflow would start one: a process of its own, which does one task of a run.

    python -m chaos.worker < task.json

What it reaches is told on standard output, a line of JSON each, so that whoever watches knows when to end it.
"""

from __future__ import annotations

import json
import sys

from chaos.clocks import shift


def main() -> None:
    """Read the task, and do it under the clock that it names."""
    task = json.load(sys.stdin)
    shift(task["clock"])
    # Only now: what is imported takes the clock with it.
    from chaos.doing import do

    do(task)


if __name__ == "__main__":
    main()
