"""Scratch spaces: databases and prefixes of Lockstep's own, which nobody else's data can be in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

from lockstep.domain.errors import Refused

#: every scratch space's name starts so, and nothing else's may
SCRATCH = "lockstep_scratch_"
#: characters that PostgreSQL and MongoDB keep of a database's name
LONGEST = 63
_NAME = re.compile(SCRATCH + r"[a-z0-9_]{1,46}")


def scratch_name(mark: str, part: str) -> str:
    """Return the name of a scratch space: of a run's or rehearsal's `mark`, and of which database it copies.

    One that is too long is cut, and ends in a digest, so that no two are the same.
    """
    name = SCRATCH + re.sub(r"[^a-z0-9]+", "_", f"{mark}_{part}".lower()).strip("_")
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}_{hashlib.sha256(f'{mark}/{part}'.encode()).hexdigest()[:8]}"


def refuse_live(name: str, live: Collection[str]) -> str:
    """Return the name where it is a scratch space's; Refused for any other and for a declared database's.

    `live`: names of the databases that connections lead to.
    """
    if not _NAME.fullmatch(name) or name in live:
        why = "it is a live database's" if name in live else f"a scratch space's starts with {SCRATCH!r}"
        raise Refused(
            f"{name!r} is no name for a scratch space: {why}. Nothing was made or dropped.",
            name=name,
        )
    return name
