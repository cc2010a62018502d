"""The chain: every revision of a folder, in order, from its one root to its one head."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lockstep.domain.errors import ChainFaults, Refused, RevisionFault
from lockstep.domain.loading import declared_ids, load_revision, shown_path
from lockstep.domain.revision import Revision

#: the target that means: before the first revision
BASE = "base"
HEAD = "head"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Revisions that can be used, root first, and the faults of those that cannot."""

    revisions: tuple[Revision, ...]
    faults: tuple[RevisionFault, ...] = ()

    def __getitem__(self, revision_id: str) -> Revision:
        for revision in self.revisions:
            if revision.id == revision_id:
                return revision
        known = ", ".join(revision.id for revision in self.revisions) or "none"
        faulty = next((fault for fault in self.faults if fault.revision == revision_id), None)
        if faulty is not None:
            raise Refused(f"revision {revision_id!r} cannot be used: {faulty}", revision=revision_id)
        raise Refused(f"there is no revision {revision_id!r}. Name one of: {known}.", revision=revision_id)

    @property
    def head(self) -> str:
        """The last revision's id; refused while a fault makes the end of the chain uncertain."""
        if self.faults:
            raise Refused(
                "the chain's head is uncertain while revisions have faults; mend them, or name a target "
                f"revision. {ChainFaults(self.faults)}"
            )
        return self.revisions[-1].id if self.revisions else BASE

    def index(self, target: str) -> int:
        """Return how many revisions are applied when the database is at `target`."""
        if target == BASE:
            return 0
        if target == HEAD:
            target = self.head
        return 0 if target == BASE else self.revisions.index(self[target]) + 1


def revision_files(folder: Path) -> list[Path]:
    """Return the revision files of a folder, by name; names that start with '_' or '.' are not revisions."""
    if not folder.is_dir():
        raise Refused(
            f"the folder of revisions {str(folder)!r} is not there. Create it, or set LOCKSTEP_MIGRATIONS.",
            folder=str(folder),
        )
    return sorted(path for path in folder.glob("*.py") if path.name[0] not in "_.")


def load_chain(folder: Path) -> Chain:
    """Load every revision of a folder; what is wrong with one is a fault and leaves the others standing."""
    loaded: list[Revision] = []
    faults: list[RevisionFault] = []
    for path in revision_files(folder):
        try:
            loaded.append(load_revision(path))
        except RevisionFault as fault:
            faults.append(fault)
    return arrange(loaded, faults, _unread_ids(folder, faults))


def _unread_ids(folder: Path, faults: Iterable[RevisionFault]) -> dict[str, str]:
    """Return the ids that faulty files claim, with their files."""
    claimed: dict[str, str] = {}
    for fault in faults:
        path = folder / Path(fault.file).name
        try:
            claimed_id = fault.revision or declared_ids(path.read_text("utf-8", "replace"))[0]
        except OSError:
            claimed_id = fault.revision
        if claimed_id:
            claimed[claimed_id] = shown_path(path)
    return claimed


def arrange(
    loaded: Iterable[Revision], faults: Iterable[RevisionFault] = (), unread: dict[str, str] | None = None
) -> Chain:
    """Order revisions from the root; name every duplicate, gap, fork and cycle as a fault."""
    found = list(faults)
    unread = dict(unread or {})
    unique = _without_duplicates(loaded, found, unread)
    children: dict[str | None, list[Revision]] = defaultdict(list)
    for revision in unique.values():
        children[revision.down_revision].append(revision)
    ordered: list[Revision] = []
    standing = _choose(children, None, found)
    while standing is not None:
        ordered.append(standing)
        standing = _choose(children, standing.id, found)
    reached = {revision.id for revision in ordered}
    lost = [revision for revision in unique.values() if revision.id not in reached]
    already = {fault.file for fault in found}
    found.extend(_unreached(r, unique, unread) for r in lost if r.file not in already)
    return Chain(revisions=tuple(ordered), faults=tuple(sorted(found, key=lambda fault: fault.file)))


def _without_duplicates(
    loaded: Iterable[Revision], faults: list[RevisionFault], unread: dict[str, str]
) -> dict[str, Revision]:
    by_id: dict[str, list[Revision]] = defaultdict(list)
    for revision in loaded:
        by_id[revision.id].append(revision)
    unique: dict[str, Revision] = {}
    for revision_id, sharing in by_id.items():
        files = [r.file for r in sharing] + ([unread[revision_id]] if revision_id in unread else [])
        if len(files) == 1:
            unique[revision_id] = sharing[0]
            continue
        for revision in sharing:
            others = ", ".join(file for file in files if file != revision.file)
            faults.append(
                RevisionFault(
                    file=revision.file,
                    revision=revision_id,
                    problem=f"its id {revision_id!r} is a duplicate: {others} has it too.",
                    fix="give one of them an id of its own, and point down_revision lines at the right one.",
                )
            )
            unread[revision_id] = revision.file
    return unique


def _branch_length(children: dict[str | None, list[Revision]], start: Revision) -> int:
    longest, stack, seen = 0, [(start, 1)], set[str]()
    while stack:
        revision, depth = stack.pop()
        if revision.id in seen:
            continue
        seen.add(revision.id)
        longest = max(longest, depth)
        stack.extend((child, depth + 1) for child in children[revision.id])
    return longest


def _choose(
    children: dict[str | None, list[Revision]], parent: str | None, faults: list[RevisionFault]
) -> Revision | None:
    """Return the one child of `parent`; of several, the longest branch stays and the others are faults.

    Of branches equally long the first by file name stays: the rule needs no history, so every process that
    reads the folder names the same culprit.
    """
    rivals = children[parent]
    if len(rivals) < 2:
        return rivals[0] if rivals else None
    rivals = sorted(rivals, key=lambda r: (-_branch_length(children, r), r.file))
    kept = rivals[0]
    for other in rivals[1:]:
        if parent is None:
            problem = f"it is a second root: {kept.id!r} ({kept.file}) has down_revision = None too."
            fix = "set down_revision to the revision that it follows."
        else:
            problem = f"it makes a second head: it follows {parent!r}, and so does {kept.id!r} ({kept.file})."
            last = kept
            while children[last.id]:
                last = min(children[last.id], key=lambda r: (-_branch_length(children, r), r.file))
            fix = f"set down_revision = {last.id!r}, so that it follows the last revision of the chain."
        faults.append(RevisionFault(file=other.file, revision=other.id, problem=problem, fix=fix))
    return kept


def _unreached(revision: Revision, unique: dict[str, Revision], unread: dict[str, str]) -> RevisionFault:
    """Say why the chain does not lead to this revision."""
    parent = revision.down_revision
    cycle = _cycle_from(revision, unique)
    if cycle:
        problem = f"its ancestors form a cycle: {' → '.join(cycle)}."
        fix = "set down_revision of one of them to the revision that it really follows."
    elif parent in unread:
        problem = f"it follows {parent!r} ({unread[parent]}), which cannot be used."
        fix = f"mend {unread[parent]} first."
    elif parent in unique:
        problem = f"it descends from {parent!r} ({unique[parent].file}), which cannot be used."
        fix = f"mend {unique[parent].file} first."
    else:
        close = difflib.get_close_matches(str(parent), list(unique), n=1, cutoff=0.6)
        problem = f"its parent {parent!r} is missing: no file declares that revision."
        fix = f"set down_revision to an id that is there{f', such as {close[0]!r}' if close else ''}."
    return RevisionFault(file=revision.file, revision=revision.id, problem=problem, fix=fix)


def _cycle_from(revision: Revision, unique: dict[str, Revision]) -> list[str]:
    trail: list[str] = []
    current: Revision | None = revision
    while current is not None and current.id not in trail:
        trail.append(current.id)
        current = unique.get(current.down_revision or "")
    return [*trail[trail.index(current.id) :], current.id] if current is not None else []
