"""Run a demo: `python -m lockstep.demo --help`."""

import signal
import sys
from types import FrameType

from lockstep.demo import clean, failure, success
from lockstep.demo.errors import DemoError
from lockstep.demo.options import parse
from lockstep.demo.screen import Screen
from lockstep.domain.errors import LockstepError
from lockstep.embedded import EmbeddedError

#: What a shell says of a program that Ctrl-C ended.
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Return the exit status: 0 only if what was asked for was seen to work."""
    options, screen = parse(argv), Screen()
    listen()
    try:
        if options.clean:
            return clean.run(options, screen)
        return failure.run(options, screen) if options.failure else success.run(options, screen)
    except (DemoError, EmbeddedError, LockstepError) as error:
        screen.say(str(error), "red")
        return 1
    except KeyboardInterrupt:
        screen.say("Interrupted; everything that was started is stopped.")
        return INTERRUPTED


def listen() -> None:
    """Take Ctrl-C also where a shell started this in the background, and any request to end like it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, as_interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        signal.signal(signal.SIGHUP, as_interrupt)


def as_interrupt(signum: int, frame: FrameType | None) -> None:
    """Treat a request to end like Ctrl-C, which is held back where a process would be lost (a signal handler)."""
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
