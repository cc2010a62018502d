"""Kill workers (-9) at random moments, and show that each record is still carried exactly once.

    python tests/kills.py --kills 100 --seed 7 --store rows

Servers are started below a temporary folder. The exit status is 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / part) for part in (".", "unit", "engine", "acceptance")]

from chaos.campaign import Broken, Campaign, Tally  # noqa: E402 - found by the path above
from conftest import running_servers  # noqa: E402

STORES = ("rows", "documents", "objects")


def main() -> int:
    """Run the campaigns that the options name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="for each store")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--store", choices=(*STORES, "all"), default="all")
    options = parser.parse_args()
    chosen = STORES if options.store == "all" else (options.store,)
    with (
        tempfile.TemporaryDirectory(prefix="lockstep-kills-") as root,
        running_servers(Path(root)) as servers,
    ):
        for store in chosen:
            # Each store has dice of its own, so that one alone meets what it meets among all.
            dice = random.Random(f"{options.seed} {store}")
            campaign = Campaign(
                servers=servers,
                store=store,
                kills=options.kills,
                dice=dice,
                say=lambda line: print(f"  {line}", flush=True),
            )
            began = time.monotonic()
            print(f"{store}: {options.kills} kills, seed {options.seed}", flush=True)
            try:
                tally = campaign.run()
            except Broken as problem:
                print(f"BROKEN after {campaign.tally.kills} kill(s): {problem}")
                return 1
            print(_told(tally, time.monotonic() - began), flush=True)
    return 0


def _told(tally: Tally, seconds: float) -> str:
    return (
        f"  kept: {tally.kills} kills ({tally.early} before the worker began, {tally.undoing} in an undo, "
        f"{tally.doubled} times two workers at once), {tally.workers} workers, {tally.rounds} rounds in "
        f"{seconds:.0f} s; {tally.records} records carried exactly once, {tally.redone} done again of at most "
        f"{tally.allowed} that a batch a kill allows"
    )


if __name__ == "__main__":
    sys.exit(main())
