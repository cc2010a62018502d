"""What a rehearsal's times say of the live run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lockstep.domain.predicting import RunTime, StepTime, predict, tasks_in_a_row
from lockstep.domain.rehearsal import Prediction, folder_of, new_rehearsal_id
from lockstep.domain.scratch import refuse_live, scratch_name
from lockstep.engine.rehearsing.distribution import MOST, Distribution, percentile, summary

STEP = StepTime(seconds=10.0, shards=2, live_shards=2, batched=True)
RUN = RunTime(
    fixed=1.0, backups={"auth": 4.0, "api": 2.0}, prove=2.0, planning=0.5, steps=(STEP,), verify=1.5
)


def test_on_the_same_data_it_is_what_was_measured() -> None:
    found = predict(RUN, slots=2, task_seconds=0.0)

    assert found.seconds == pytest.approx(1.0 + 4.0 + 2.0 + 0.5 + 10.0 + 1.5)
    assert found.low < found.seconds < found.high


def test_each_task_costs_what_airflow_adds() -> None:
    run = replace(RUN, tasks=tasks_in_a_row([True, False]))

    with_airflow = predict(run, slots=2, task_seconds=0.5)

    assert run.tasks == 8
    assert with_airflow.seconds - predict(run, slots=2, task_seconds=0.0).seconds == pytest.approx(4.0)


def test_backups_side_by_side_count_once_where_there_is_room() -> None:
    alike = replace(RUN, backups={"a": 3.0, "b": 3.0, "c": 3.0})

    wide, narrow = predict(alike, slots=3, task_seconds=0), predict(alike, slots=1, task_seconds=0)

    assert narrow.seconds - wide.seconds == pytest.approx(6.0)


def test_ten_times_the_records_take_ten_times_as_long_and_the_range_is_wider() -> None:
    here = predict(RUN, slots=2, task_seconds=0)
    grown = replace(RUN, scale=10.0, steps=(replace(STEP, scale=10.0),))
    there = predict(grown, slots=2, task_seconds=0)

    assert there.seconds == pytest.approx(1.5 + 10 * (here.seconds - 1.5))
    assert (there.high - there.low) / there.seconds > (here.high - here.low) / here.seconds


def test_more_shards_help_only_as_far_as_there_is_room_for_them() -> None:
    grown = replace(STEP, shards=1, live_shards=4, scale=4.0)

    one = predict(replace(RUN, steps=(grown,)), slots=1, task_seconds=0).seconds
    two = predict(replace(RUN, steps=(grown,)), slots=2, task_seconds=0).seconds
    many = predict(replace(RUN, steps=(grown,)), slots=8, task_seconds=0).seconds

    assert one > two > many
    # Two ranges side by side were measured at two thirds of the time of one.
    assert two - 9.0 == pytest.approx(40 * 0.67, rel=0.01)


def test_a_change_of_the_catalog_takes_no_longer_on_more_data() -> None:
    quick = StepTime(seconds=0.01, scale=100.0)
    slow = StepTime(seconds=2.0, scale=100.0)

    assert predict(replace(RUN, steps=(quick,)), slots=2, task_seconds=0).seconds == pytest.approx(9.01)
    found = predict(replace(RUN, steps=(slow,)), slots=2, task_seconds=0)
    assert found.seconds == pytest.approx(209)
    assert found.low < 11


def test_the_range_holds_what_the_second_upgrade_took() -> None:
    slower = predict(replace(RUN, again=1.8), slots=2, task_seconds=0)
    quicker = predict(replace(RUN, again=0.6), slots=2, task_seconds=0)

    assert slower.high >= slower.seconds * 1.8
    assert quicker.low <= quicker.seconds * 0.6
    assert isinstance(quicker, Prediction)


def test_batch_times_are_exact_while_they_are_few_and_bounded_when_they_are_many() -> None:
    few = Distribution(number / 10 for number in range(1, 101))
    many = Distribution(float(number) for number in range(MOST * 5))

    found = summary(few.kept, few.count, few.longest)
    assert found is not None
    assert (found["count"], found["p50"], found["p90"], found["longest"]) == (100, 5.0, 9.0, 10.0)
    assert sum(found["histogram"]["bars"]) == 100
    assert len(many.kept) <= MOST
    assert many.count == MOST * 5
    assert percentile(sorted(many.kept), 0.5) == pytest.approx(MOST * 2.5, rel=0.01)
    assert summary([], 0, 0.0) is None


def test_a_rehearsals_id_fits_into_the_name_of_a_scratch_space() -> None:
    from datetime import datetime, timezone

    made = new_rehearsal_id(datetime.now(timezone.utc))

    name = scratch_name(f"{made}_12", "10_campus_documents")
    assert made in name
    assert name.endswith("10_campus_documents")
    assert refuse_live(name, ()) == name
    assert folder_of(made) == f"rehearsals/{made}"
