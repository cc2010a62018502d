"""What a person sees meanwhile: a live table on a terminal, plain lines in a pipeline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lockstep.cli.deploying.looking import Look, Pace, Step

MARKS = {"pending": ("·", "dim"), "running": ("▶", "cyan"), "done": ("✓", "green"), "failed": ("✗", "red")}
#: seconds between two plain lines about the same step, in which nothing else happened
GENTLE = 20.0
_BAR = 32


@dataclass(kw_only=True)
class Screen:
    """Write plain lines: one for each revision that moves on, and now and then one for how far it is."""

    console: Console
    #: revision → what was said of it last
    _told: dict[str, str] = field(default_factory=dict)
    _waits: tuple[str, ...] = ()
    _said: float = field(default_factory=time.monotonic)
    _lost: str | None = None

    #: whether every look should see how far the step is that goes on
    close: bool = False

    def say(self, text: str) -> None:
        """Write a line as it is: what comes from a log is no markup."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def lost_contact(self, why: str) -> None:
        """Say that Airflow does not answer, and that this goes on asking."""
        self._lost = why
        self.say(f"… Airflow does not answer ({why}); asking again")

    @contextmanager
    def following(self) -> Iterator[Screen]:
        """Show a run for the length of a block."""
        yield self

    @property
    def due(self) -> bool:
        """Whether something should be said of how far it is."""
        return self.close or time.monotonic() - self._said >= GENTLE

    def update(self, look: Look) -> None:
        """Write what changed since the last look."""
        self.notices(look)
        for step in look.steps:
            if self._told.get(step.revision, "pending") != step.state:
                self._told[step.revision] = step.state
                self._tell(line(step))
            elif step.state == "running" and step.pace is not None and self.due:
                self._tell(f"▶ {step.revision}  {pace_words(step.pace)}")

    def notices(self, look: Look) -> None:
        """Write that Airflow is back, and what the run waits for."""
        if self._lost is not None:
            self._lost = None
            self._tell("… Airflow answers again")
        for said in look.waits:
            if said not in self._waits:
                self._tell(f"… {said}")
        self._waits = look.waits

    def _tell(self, text: str) -> None:
        self._said = time.monotonic()
        self.say(text)


@dataclass(kw_only=True)
class LiveScreen(Screen):
    """Redraw a table with a bar while the run goes on; its lines stay when it is over."""

    close: bool = True
    _live: Live | None = None

    @contextmanager
    def following(self) -> Iterator[Screen]:
        with Live(console=self.console, refresh_per_second=4, transient=True) as self._live:
            yield self
        self._live = None

    def update(self, look: Look) -> None:
        """Redraw the table; write for good what has ended."""
        self.notices(look)
        for step in look.steps:
            if step.state in ("done", "failed") and self._told.get(step.revision) != step.state:
                self._told[step.revision] = step.state
                self._tell(line(step))
        if self._live is not None:
            self._live.update(Group(_table(look), _bars(look)))


def screen_for(*, plain: bool, stream: TextIO) -> Screen:
    """Return what suits the stream."""
    console = Console(file=stream, highlight=False)
    return Screen(console=console) if plain or not console.is_terminal else LiveScreen(console=console)


def line(step: Step) -> str:
    """Say where a step is in one line."""
    said = f"{MARKS[step.state][0]} {step.revision}  {step.status:<12}"
    if step.records is not None:
        said += f" {step.records:>10,} records"
    if step.seconds is not None and step.state != "running":
        said += f" {step.seconds:>8.1f} s"
    return f"{said}  {step.description}".rstrip()


def pace_words(pace: Pace) -> str:
    """Say how far a step is, how fast it goes and how long it still takes, as far as that is known."""
    of = "" if pace.estimate is None else f" of about {pace.estimate:,}"
    said = f"{pace.read:,}{of} records"
    if pace.rate is not None:
        said += f", {pace.rate:,.0f}/s"
    if pace.seconds_left is not None:
        minutes, seconds = divmod(round(pace.seconds_left), 60)
        said += f", about {f'{minutes} min ' if minutes else ''}{seconds} s left"
    return said if pace.held is None else f"{said}; held: {pace.held}"


def _table(look: Look) -> Table:
    """Draw what is still to come or goes on; what is done stands above as lines."""
    table = Table(box=None, padding=(0, 1), show_header=False)
    for step in look.steps:
        if step.state in ("pending", "running"):
            mark, style = MARKS[step.state]
            seconds = "" if step.seconds is None else f"{step.seconds:.0f} s"
            table.add_row(
                mark, step.revision, step.status, seconds, step.doing or step.description, style=style
            )
    if not look.planned:
        table.add_row("·", look.run.run_id, look.run.state, "", "planning", style="dim")
    return table


def _bars(look: Look) -> Table:
    """Draw a bar for a step that goes on; one of unknown length where nobody knows how much there is."""
    grid = Table.grid(padding=(0, 1))
    for step in look.steps:
        if step.pace is not None:
            total = None if step.pace.estimate is None else float(max(step.pace.estimate, step.pace.read, 1))
            bar = ProgressBar(total=total, completed=float(step.pace.read), width=_BAR, pulse=total is None)
            grid.add_row(step.revision, bar, Text(pace_words(step.pace)))
    return grid
