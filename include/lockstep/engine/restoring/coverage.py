"""Which resources a restore puts back in place, and which revisions they belong to."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.domain.resources import Everything, Touched
from lockstep.domain.revision import Revision
from lockstep.engine.restoring.plan import Target


def uncovered(revision: Revision, targets: Sequence[Target]) -> list[str]:
    """Return what a revision touches and a restore does not put back in place."""
    put_back = _put_back(targets)
    return [
        str(touched)
        for touched in revision.touched
        if touched not in put_back and Everything(touched.database) not in put_back
    ]


def overlapping(revision: Revision, targets: Sequence[Target]) -> list[str]:
    """Return what a restore puts back in place of all that a revision touches."""
    found = []
    for resource in _put_back(targets):
        for touched in revision.touched:
            same_place = touched.database == resource.database
            if same_place and (
                touched == resource or isinstance(touched, Everything) or resource.slug == "*"
            ):
                found.append(str(resource))
                break
    return sorted(found)


def _put_back(targets: Sequence[Target]) -> set[Touched]:
    return {resource for target in targets if target.in_place for resource in target.resources}
