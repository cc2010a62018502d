"""What this process holds in memory, and the most that it held."""

from __future__ import annotations

import gc
import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs")


def settle() -> int:
    """Forget the peak so far, where the system can; return bytes held now."""
    gc.collect()
    try:
        _FORGET.write_text("5")
    except OSError:
        return peak()
    return _field("VmRSS") or peak()


def peak() -> int:
    """Return the most bytes held.

    Linux counts the parent's memory into a child's ru_maxrss where the child was started by vfork, as
    subprocess does it; VmHWM is the process's own.
    """
    own = _field("VmHWM")
    if own is not None:
        return own
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _field(name: str) -> int | None:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
