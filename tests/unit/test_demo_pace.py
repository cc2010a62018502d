"""What `make demo` shows of a revision that goes on: what was counted and measured, and nothing else."""

from io import StringIO
from typing import Any

from rich.console import Console

from lockstep.demo.pace import Pace, pace_of
from lockstep.demo.progress import Step
from lockstep.demo.screen import Lines, Screen, bars, pace_words
from lockstep.domain.progress import Progress
from lockstep.domain.run import ShardState


def shard(number: int, state: str, read: int, **more: Any) -> ShardState:
    return ShardState(
        step=more.pop("step", 1),
        shard=number,
        label="all",
        lower=None,
        upper=None,
        state=state,
        epoch=1,
        progress=Progress(read=read),
        **more,
    )


def step(pace: Pace | None) -> Step:
    return Step(
        revision="0003",
        description="Stamp.",
        state="running",
        status="upgrading",
        dag_id="revision_0003",
        pace=pace,
    )


def shown(renderable: Any) -> str:
    console = Console(file=StringIO(), width=120, force_terminal=False)
    console.print(renderable)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_shards_add_up_and_the_slowest_says_how_long() -> None:
    pace = pace_of(
        [
            shard(0, "done", 90, estimate=100),
            shard(1, "running", 50, estimate=100, rate=10.0),
            shard(2, "running", 20, estimate=100, rate=2.0),
        ]
    )

    assert pace == Pace(read=160, estimate=290, rate=12.0, left=40.0, held=None)
    assert pace_words(pace) == "160 of about 290 records, 12/s, about 40 s left"


def test_what_nobody_counted_or_measured_is_not_made_up() -> None:
    pace = pace_of([shard(0, "running", 50), shard(1, "running", 20, estimate=100, rate=2.0)])

    assert pace is not None
    assert (pace.estimate, pace.left) == (None, None)
    assert pace_words(pace) == "70 records, 2/s"


def test_the_step_that_was_planned_last_counts_and_one_that_is_done_has_no_pace() -> None:
    earlier = shard(0, "done", 500, estimate=500)

    assert pace_of([]) is None
    assert pace_of([earlier]) is None
    pace = pace_of([earlier, shard(0, "planned", 0, step=2, estimate=10)])
    assert pace is not None
    assert (pace.read, pace.estimate) == (0, 10)


def test_a_held_step_says_what_it_waits_for() -> None:
    pace = pace_of([shard(0, "held", 5, estimate=10, rate=3.0, held="ann paused the run")])

    assert pace is not None
    assert pace_words(pace) == "5 of about 10 records; held: ann paused the run"


def test_a_bar_is_drawn_for_what_goes_on_and_for_nothing_else() -> None:
    pace = Pace(read=5, estimate=10, rate=None, left=None, held=None)

    text = shown(bars((step(pace), step(None))))

    assert text.count("0003") == 1
    assert "5 of about 10 records" in text
    assert "━" in text


def test_where_there_is_no_terminal_a_line_is_written_now_and_then() -> None:
    screen = Screen(console=Console(file=StringIO(), width=120, force_terminal=False))
    lines = Lines(screen=screen, said=float("-inf"))
    pace = Pace(read=5, estimate=10, rate=None, left=None, held=None)

    lines.update((step(pace),))
    lines.update((step(pace),))

    assert screen.console.file.getvalue() == "▶ 0003 5 of about 10 records\n"  # type: ignore[attr-defined]
