"""The plain rules of housekeeping: which files are read today, what has drifted, whose a scratch space is."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lockstep.domain.progress import BackupFile
from lockstep.domain.scratch import scratch_name
from lockstep.engine.housekeeping.drift import Difference, changed_lines, compare
from lockstep.engine.housekeeping.found import LISTED, Found, size_text
from lockstep.engine.housekeeping.reading import Sample
from lockstep.engine.housekeeping.scratch import _owners_of, _plain
from lockstep.engine.housekeeping.strangers import age_of

DAY = date(2026, 6, 1)
NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)


def a_file(path: str, size: int) -> BackupFile:
    return BackupFile(path=path, size=size, sha256="", holds="")


# --- the sample ----------------------------------------------------------------------------------------------


@given(percent=some.floats(1, 100), path=some.text(min_size=1), start=some.dates(max_value=date(9000, 1, 1)))
def test_every_large_file_is_read_once_in_as_many_days_as_it_takes(
    percent: float, path: str, start: date
) -> None:
    rounds = Sample(percent=percent, day=start).rounds
    days = [start + timedelta(number) for number in range(rounds)]
    assert sum(Sample(percent=percent, day=day).takes(a_file(path, 10**9)) for day in days) == 1


def test_a_days_share_is_about_the_percentage() -> None:
    sample = Sample(percent=10, day=DAY)
    taken = sum(sample.takes(a_file(f"backups/r/{n}", 10**9)) for n in range(2000))
    assert 130 < taken < 270


def test_small_files_are_read_every_day_and_none_of_the_others_with_0_percent() -> None:
    sample = Sample(small=100, percent=0, day=DAY)
    assert sample.takes(a_file("a", 100))
    assert not sample.takes(a_file("a", 101))


# --- drift ---------------------------------------------------------------------------------------------------


def test_drift_is_told_by_object() -> None:
    before = {"table users": "id text", "index users_n": "btree (n)", "view v": "SELECT 1"}
    now = {"table users": "id text\nage int", "view v": "SELECT 1", "table left": "x int"}
    assert [str(one) for one in compare("auth", before, now)] == [
        "auth: index users_n is missing",
        "auth: table left is extra",
        "auth: table users is changed",
    ]
    changed = compare("auth", before, now)[-1]
    assert (changed.expected, changed.now) == ("id text", "id text\nage int")


@pytest.mark.parametrize("pattern", ["table imp*", "auth table *", "*imports*"])
def test_what_matches_a_pattern_is_left_out(pattern: str) -> None:
    assert compare("auth", {}, {"table imports_1": "x"}, [pattern]) == []
    assert compare("auth", {}, {"index other": "x"}, [pattern])


def test_a_change_is_shown_as_the_lines_that_came_and_went() -> None:
    one = Difference(conn_id="c", object="table t", kind="changed", expected="a\nb\nc", now="a\nB\nc")
    assert changed_lines(one) == [" a", "-b", "+B", " c"]


# --- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("backups/0001-up-20260530T000000-abc123/c/", 2),
        ("lockstep_scratch_0001_up_20260530t000000_abc123_c", 2),
        ("rehearsals/r260531000000ab12/", 1),
        ("lockstep_scratch_r260531000000ab12_campus", 1),
    ],
)
def test_a_names_age_is_the_time_in_it(name: str, days: int) -> None:
    assert age_of(name, NOW) == timedelta(days=days)


@pytest.mark.parametrize(
    "name", ["backups/by-hand/c/", "journal/20261399T999999/", "rehearsals/four12345678901234/"]
)
def test_a_name_without_a_time_has_no_age(name: str) -> None:
    assert age_of(name, NOW) is None


RUN = "0001-up-20260530T000000-abc123"


def owners(*ids: str) -> list[str]:
    return [_plain(one) for one in ids]


def test_a_scratch_space_is_its_runs_whatever_stands_around_the_id() -> None:
    known = owners(RUN, "0001-up-20260530T000000-abc12", "other")
    for name in (scratch_name(RUN, "campus_auth"), scratch_name(f"back_{RUN}", "c"), scratch_name(RUN, "")):
        assert _owners_of(name, known) == owners(RUN)


def test_an_id_that_is_only_the_beginning_of_another_is_not_it() -> None:
    assert _owners_of(scratch_name("0001-up-2", "c"), owners("0001-up-1", "1-up-2")) == []


@given(prefix=some.sampled_from(["", "back_"]), length=some.integers(1, 90))
def test_a_name_that_was_cut_is_still_known(prefix: str, length: int) -> None:
    run_id = f"{'long' * 30}"[:length] + "-up-20260530T000000-abc123"
    assert _owners_of(scratch_name(f"{prefix}{run_id}", "campus_auth"), owners(run_id)) == owners(run_id)


# --- what is told --------------------------------------------------------------------------------------------


def test_a_long_list_is_cut_and_says_so() -> None:
    told = Found(done=tuple(map(str, range(LISTED + 7)))).as_json()
    assert len(told["done"]) == LISTED + 1
    assert told["done"][-1] == "and 7 more: see the log"


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (None, "size unknown"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (5_250_000_000, "5.2 GB"),
        (10**15, "1000.0 TB"),
    ],
)
def test_sizes_are_told_as_people_read_them(size: int | None, told: str) -> None:
    assert size_text(size) == told
