"""Take away what a rehearsal made: scratch spaces of every try, and all of its folder but the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.rehearsal import Rehearsal
from lockstep.domain.scratch import refuse_live, scratch_name
from lockstep.engine.rehearsing.report import HTML_NAME, JSON_NAME
from lockstep.engine.rehearsing.stage import Backstage
from lockstep.engine.rehearsing.wanted import Wanted
from lockstep.engine.services import Services


def drop_rehearsal(
    services: Services, backstage: Backstage, rehearsal: Rehearsal, wanted: Sequence[Wanted], *, keep: bool
) -> dict[str, Any]:
    """Drop every scratch space of a rehearsal, whichever try made it; dropped before is fine.

    `keep`: leave them, and what they were loaded from, for a person to look into; housekeeping drops them in time.
    Raises the first error once all were tried.
    """
    begins = scratch_name(rehearsal.id, "x").removesuffix("x")
    found = [
        (one, name)
        for one in wanted
        for name in services.stores(one.database).scratches()
        if name.startswith(begins)
    ]
    ledgers = [name for name in backstage.ledger_scratches() if name.startswith(begins)]
    if keep:
        kept = sorted({name for _, name in found} | set(ledgers))
        services.log.warning(f"kept, as it was asked for: {', '.join(kept)}")
        return {"kept": kept}
    for name in [*ledgers, *(name for _, name in found)]:
        refuse_live(name, backstage.live)
    problems: list[LockstepError] = []
    dropped: list[str] = []
    for one, name in found:
        _try(
            problems,
            dropped,
            name,
            lambda one=one, name=name: services.stores(one.database).drop_scratch(name),
        )
    for name in ledgers:
        if name not in dropped:
            _try(problems, dropped, name, lambda name=name: backstage.drop_ledger(name))
    removed = _empty_folder(services, rehearsal)
    services.log.info(f"dropped {len(dropped)} scratch space(s), removed {removed} file(s)", dropped=dropped)
    if problems:
        raise problems[0]
    return {"dropped": dropped, "removed": removed}


def _try(problems: list[LockstepError], dropped: list[str], name: str, drop: Any) -> None:
    try:
        drop()
        dropped.append(name)
    except LockstepError as problem:
        problems.append(problem)


def _empty_folder(services: Services, rehearsal: Rehearsal) -> int:
    keep = {f"{rehearsal.folder}/{name}" for name in (JSON_NAME, HTML_NAME)}
    return services.vault.remove(
        path for path in services.vault.paths(f"{rehearsal.folder}/") if path not in keep
    )
