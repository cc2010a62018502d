"""Which backups stay: the rule holds for any history of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as some

from lockstep.domain.backups import Proof, StoredBackup
from lockstep.domain.progress import Manifest
from lockstep.domain.rehearsal import Rehearsal, Verdict
from lockstep.domain.run import Caller, RevisionState, Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine.housekeeping.needed import built_on, needed_runs
from lockstep.engine.housekeeping.retention import Retention, is_sound, judge

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
CALLER = Caller(dag_id="d", dag_run_id="r")
SHORT = Retention(last=1, days=30)
#: backups, which runs are needed and why, and which runs others build on
History = tuple[list[StoredBackup], dict[str, str], dict[str, set[str]]]


def backup(run_id: str, *, days: float = 100, revision: str = "0001", conn_id: str = "c") -> StoredBackup:
    """Return a sound backup of an ended run, saved so many days ago."""
    path = f"backups/{run_id}/{conn_id}/manifest.json"
    return StoredBackup(
        manifest=Manifest(run_id=run_id, conn_id=conn_id, kind="table", path=path, taken_at=NOW, files=()),
        revision=revision,
        way="upgrade",
        run_status=RunStatus.APPLIED,
        saved_at=NOW - timedelta(days=days),
        proof=Proof.CHECKSUM,
    )


def reusing(one: StoredBackup, earlier: StoredBackup) -> StoredBackup:
    return replace(one, manifest=replace(one.manifest, reuses={"users": earlier.manifest.path}))


def a_run(run_id: str, status: RunStatus = RunStatus.APPLIED, **more: object) -> Run:
    run = Run(
        id=run_id,
        revision="0001",
        direction="upgrade",
        status=status,
        caller=CALLER,
        checksum="",
        started_at=NOW,
    )
    return replace(run, **more)  # type: ignore[arg-type]


def applied(revision: str, by: str, status: Status = Status.APPLIED) -> RevisionState:
    return RevisionState(
        id=revision,
        description="",
        storage_type="table",
        status=status,
        checksum="",
        applied_run=by,
        last_run=by,
    )


def kept(
    backups: list[StoredBackup],
    retention: Retention = SHORT,
    needed: Mapping[str, str] | None = None,
    sources: Mapping[str, set[str]] | None = None,
) -> list[str]:
    judged = judge(backups, needed=needed or {}, sources=sources or {}, retention=retention, now=NOW)
    return [one.backup.manifest.run_id for one in judged if one.stays]


def test_the_last_of_each_revision_and_all_young_ones_stay() -> None:
    backups = [
        backup("new", days=1),
        backup("b", days=40),
        backup("a", days=50),
        backup("other", days=99, revision="0002"),
    ]
    assert kept(backups) == ["new", "other"]
    assert kept(backups, Retention(last=2, days=0)) == ["new", "b", "other"]
    assert kept(backups, Retention(last=1, days=45)) == ["new", "b", "other"]


def test_one_that_is_not_proven_or_not_sound_does_not_count_among_the_last() -> None:
    unproven = replace(backup("unproven", days=40), proof=None)
    unsound = replace(backup("unsound", days=45), problem="a file is gone")
    assert kept([unproven, unsound, backup("good", days=50)]) == ["good"]


def test_a_run_whose_databases_are_not_all_proven_does_not_count() -> None:
    half = [backup("half", days=40), replace(backup("half", days=40, conn_id="d"), proof=None)]
    assert kept([*half, backup("whole", days=50)]) == ["whole"]


def test_what_uses_an_earlier_backups_files_keeps_it_and_so_on() -> None:
    first = backup("first", days=90)
    second = reusing(backup("second", days=80), first)
    third = reusing(backup("third", days=70), second)
    assert kept([third, second, first]) == ["third", "second", "first"]


def test_the_backup_of_a_downgrade_keeps_the_one_of_the_upgrade_that_it_took_back() -> None:
    backups = [backup("down", days=40), backup("up", days=60), backup("older", days=80)]
    assert kept(backups, sources={"down": {"up"}}) == ["down", "up"]


def test_open_and_failed_runs_keep_theirs() -> None:
    backups = [
        backup("latest"),
        replace(backup("open", days=400), run_status=RunStatus.OPEN),
        replace(backup("failed", days=500), run_status=RunStatus.FAILED),
        backup("old", days=600),
    ]
    assert kept(backups) == ["latest", "open", "failed"]


def test_what_is_applied_or_half_way_is_needed_with_what_was_tried_again() -> None:
    states = {
        "0001": applied("0001", "u1"),
        "0002": applied("0002", "u2", Status.FAILED),
        "0003": applied("0003", "u3", Status.ROLLED_BACK),
    }
    runs = [
        a_run("u1"),
        a_run("again", source_run="u1"),
        a_run("down", direction="downgrade", source_run="u1", status=RunStatus.ROLLED_BACK),
        a_run("u3"),
    ]
    assert set(needed_runs(states, runs)) == {"u1", "u2", "again"}


def test_a_run_that_goes_on_needs_itself_and_what_it_was_told_to_work_with() -> None:
    runs = [
        a_run(
            "restoring",
            RunStatus.OPEN,
            direction="restore",
            source_run="b1",
            params={"note": "b2", "n": 3},
            facts={"backup": "b4"},
        ),
        a_run("done", params={"backup": "b3"}),
    ]
    needed = needed_runs({}, runs)
    assert {"restoring", "b1", "b2", "b4"} <= set(needed)
    assert not {"b3", "done"} & set(needed)


def test_a_rehearsal_that_goes_on_needs_the_backup_that_it_was_given() -> None:
    rehearsal = Rehearsal(id="h", target="head", caller=CALLER, started_at=NOW, params={"source": "b1"})
    assert "b1" in needed_runs({}, [], [rehearsal])
    assert "b1" not in needed_runs({}, [], [replace(rehearsal, verdict=Verdict.GREEN)])


def test_what_was_applied_when_a_downgrade_or_a_restore_began_is_what_its_backup_is_of() -> None:
    fates = [
        {"revision": "0002", "becomes": "rolled_back", "applied_run": None},
        {"revision": "0001", "becomes": "applied", "applied_run": "u1"},
    ]
    in_order = [
        a_run("u1"),
        a_run("u2", revision="0002"),
        a_run("again", revision="0002", source_run="u2"),
        a_run("d2", RunStatus.DOWNGRADED, revision="0002", direction="downgrade", source_run="u2"),
        a_run("u2b", revision="0002"),
        a_run("bad", RunStatus.ROLLED_BACK, revision="0003"),
        a_run("r", RunStatus.RESTORED, revision="0002", direction="restore", facts={"fates": fates}),
        a_run("d1", RunStatus.DOWNGRADED, direction="downgrade", source_run="u1"),
        a_run("r2", RunStatus.RESTORED, direction="restore", facts={"fates": []}),
    ]
    assert built_on(in_order[::-1]) == {
        "again": {"u1", "u2"},
        "d2": {"u1", "u2"},
        "r": {"u1", "u2b"},
        "d1": {"u1"},
        "r2": frozenset(),
    }


@some.composite
def histories(draw: some.DrawFn) -> History:
    """Draw backups of many runs, which of the runs are needed, and which take others back."""
    count = draw(some.integers(1, 8))
    found: list[StoredBackup] = []
    needed: dict[str, str] = {}
    sources: dict[str, set[str]] = {}
    days = 200
    for number in range(count):
        run_id = f"run-{number:02}"
        days -= draw(some.integers(1, 15))
        status = draw(some.sampled_from([RunStatus.APPLIED, RunStatus.ROLLED_BACK, RunStatus.FAILED]))
        revision = draw(some.sampled_from(["0001", "0002"]))
        for conn_id in draw(some.sampled_from([("c",), ("c", "d")])):
            one = replace(
                backup(run_id, days=days, revision=revision, conn_id=conn_id),
                run_status=status,
                proof=draw(some.sampled_from([None, Proof.CHECKSUM, Proof.RESTORE])),
                problem=draw(some.sampled_from([None, None, None, "gone"])),
            )
            earlier = [other for other in found if other.manifest.conn_id == conn_id]
            if earlier and draw(some.booleans()):
                one = reusing(one, draw(some.sampled_from(earlier)))
            found.append(one)
        if draw(some.integers(0, 4)) == 0:
            needed[run_id] = "a downgrade needs it"
        if number and draw(some.booleans()):
            sources[run_id] = {f"run-{draw(some.integers(0, number - 1)):02}"}
    return found[::-1], needed, sources


retentions = some.builds(Retention, last=some.integers(0, 4), days=some.integers(0, 150))


@given(history=histories(), retention=retentions)
def test_nothing_that_somebody_needs_ever_goes(history: History, retention: Retention) -> None:
    backups, needed, sources = history
    judged = judge(backups, needed=needed, sources=sources, retention=retention, now=NOW)
    going = [one.backup for one in judged if one.stays is None]
    staying = [one.backup for one in judged if one.stays is not None]
    gone = {one.manifest.run_id for one in going}
    there = {one.manifest.run_id for one in staying}

    assert not gone & there  # a run's backups stay or go together
    assert not gone & set(needed)
    assert all(one.run_status is not RunStatus.FAILED for one in going)
    assert all(one.saved_at <= NOW - timedelta(days=retention.days) for one in going)
    used = {path for one in staying for path in one.manifest.reuses.values()}
    assert not used & {one.manifest.path for one in going}
    assert not any(sources[run_id] & gone for run_id in there if run_id in sources)


@given(history=histories(), retention=retentions)
def test_the_latest_sound_backups_of_every_revision_stay(history: History, retention: Retention) -> None:
    backups, needed, sources = history
    there = set(kept(backups, retention, needed=needed, sources=sources))
    for revision in ("0001", "0002"):
        own = [one for one in backups if one.revision == revision]
        runs = dict.fromkeys(one.manifest.run_id for one in own)
        sound = [
            run_id for run_id in runs if all(is_sound(one) for one in own if one.manifest.run_id == run_id)
        ]
        assert set(sound[: max(retention.last, 1)]) <= there


@given(history=histories(), retention=retentions)
def test_a_second_time_nothing_more_goes_and_a_longer_retention_takes_no_more(
    history: History, retention: Retention
) -> None:
    backups, needed, sources = history
    there = set(kept(backups, retention, needed=needed, sources=sources))
    left = [one for one in backups if one.manifest.run_id in there]
    assert set(kept(left, retention, needed=needed, sources=sources)) == there
    longer = Retention(last=retention.last + 1, days=retention.days + 10)
    assert there <= set(kept(backups, longer, needed=needed, sources=sources))
