"""Remove the copies that rehearsals were loaded from; their reports stay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from lockstep.domain.rehearsal import Rehearsal
from lockstep.domain.run import Caller
from lockstep.engine.housekeeping.found import Found
from lockstep.engine.housekeeping.listing import rehearsals_of
from lockstep.engine.housekeeping.scratch import why_kept
from lockstep.engine.rehearsing.report import HTML_NAME, JSON_NAME
from lockstep.engine.services import Services


def remove_copies(
    services: Services,
    *,
    alive: Callable[[Caller], bool],
    by: str,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Found:
    """Remove what rehearsals that are over left in the vault, but for their reports.

    They remove it themselves at their end, unless they were killed or asked to keep it: then it stays as long as
    their scratch spaces do.
    """
    now = now or datetime.now(timezone.utc)
    done: list[str] = []
    for rehearsal in rehearsals_of(services):
        why = why_kept(rehearsal, alive, now)
        count = _left(services, rehearsal)
        if not count:
            continue
        told = f"{count} object(s) of rehearsal {rehearsal.id}"
        if why is not None:
            services.log.info(f"{told} stay: {why}")
            continue
        if not dry_run:
            services.vault.remove(
                path for path in services.vault.paths(f"{rehearsal.folder}/") if not _is_report(path)
            )
            with services.ledger.unit() as unit:
                detail = {"by": by, "rehearsal": rehearsal.id, "objects": count}
                unit.note(None, "copies_removed", detail, who=by)
        done.append(f"{'would remove' if dry_run else 'removed'} {told}")
        services.log.info(done[-1])
    return Found(done=tuple(done), facts={"copies": len(done)})


def _left(services: Services, rehearsal: Rehearsal) -> int:
    return sum(not _is_report(path) for path in services.vault.paths(f"{rehearsal.folder}/"))


def _is_report(path: str) -> bool:
    return path.split("/")[2:] in ([JSON_NAME], [HTML_NAME])
