"""Hold Ctrl-C back while processes are started or ended, so that none is ever lost between two lines."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Remember that Ctrl-C was pressed, and raise it where it is safe to."""

    def __init__(self) -> None:
        self.pending = False

    def note(self, signum: int, frame: FrameType | None) -> None:
        """Remember the interrupt (a signal handler)."""
        self.pending = True

    def check(self) -> None:
        """Raise the interrupt that was held back, if there is one."""
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt


@contextmanager
def held_interrupts() -> Iterator[Interrupts]:
    """Hold SIGINT back for the length of the block; one that nobody checked is delivered at its end."""
    held = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield held  # Python raises KeyboardInterrupt in the main thread only
        return
    before = signal.signal(signal.SIGINT, held.note)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
    if held.pending:
        signal.raise_signal(signal.SIGINT)
