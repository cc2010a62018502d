"""`make clean`: end what a killed session left running, and remove its data."""

import shutil

from lockstep.demo.options import Options
from lockstep.demo.screen import Screen
from lockstep.embedded.leftovers import end_all_leftovers

#: The data folders that demos make below the root.
DEMOS = ("demo", "failure")


def run(options: Options, screen: Screen) -> int:
    """Remove the data folder; raise RootInUseError while a session holds a part of it."""
    if not options.root.exists():
        screen.say(f"There is nothing to remove: no '{options.root}'.")
        return 0
    for folder in (options.root, *(options.root / name for name in DEMOS)):
        if folder.exists():
            end_all_leftovers(folder)
    shutil.rmtree(options.root)
    screen.say(f"Removed '{options.root}'.")
    return 0
