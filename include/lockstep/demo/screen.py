"""What a person sees: a table that changes while it is looked at, or plain lines where there is no terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lockstep.demo.pace import Pace
from lockstep.demo.progress import Step
from lockstep.web.page import duration

MARKS = {
    "waiting": ("·", "dim"),
    "running": ("▶", "cyan"),
    "success": ("✓", "green"),
    "failed": ("✗", "red"),
    "standing": ("✓", "dim"),
}
#: Columns of plain output: nobody's window has to be fitted.
PLAIN_WIDTH = 132
UNITS = ("B", "kB", "MB", "GB", "TB")
BAR = 40
#: Nothing that would be worth a line.
UNKNOWN = Pace(read=0, estimate=None, rate=None, left=None, held=None)
#: Seconds between two plain lines about the same revision.
GENTLE = 10.0


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Write to the terminal, or plain lines to whatever stands for it."""

    console: Console = field(default_factory=_console)

    def say(self, text: str, style: str | None = None) -> None:
        """Write a paragraph, as it is: what logs say is no markup."""
        self.console.print(text, style=style, markup=False, soft_wrap=not self.console.is_terminal)

    def show(self, shown: RenderableType) -> None:
        """Write a table or the like."""
        self.console.print(shown)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something takes a while."""
        if not self.console.is_terminal:
            self.say(text)
            yield
            return
        with self.console.status(text):
            yield

    @contextmanager
    def following(self) -> Iterator["Follower"]:
        """Show steps while they go."""
        if not self.console.is_terminal:
            yield Lines(screen=self)
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as live:
            yield Follower(live=live)


@dataclass(kw_only=True)
class Follower:
    """Redraw a table of steps."""

    live: Live | None = None

    def update(self, steps: tuple[Step, ...]) -> None:
        """Show how far the steps are."""
        if self.live is not None:
            self.live.update(Group(steps_table(steps, going=True), bars(steps)))


@dataclass(kw_only=True)
class Lines(Follower):
    """Write one line for each step that is over, and now and then one for what goes on."""

    screen: Screen
    told: set[str] = field(default_factory=set)
    #: When something was last said of what goes on.
    said: float = field(default_factory=time.monotonic)

    def update(self, steps: tuple[Step, ...]) -> None:
        """Write what is over since the last time."""
        for step in steps:
            if step.over and step.revision not in self.told:
                self.told.add(step.revision)
                self.screen.say(line(step))
        if time.monotonic() - self.said >= GENTLE:
            self.said = time.monotonic()
            for step in steps:
                if step.pace is not None and step.pace != UNKNOWN:
                    self.screen.say(f"{MARKS[step.state][0]} {step.revision} {pace_words(step.pace)}")


def line(step: Step) -> str:
    """Say a finished step in one line."""
    mark, _ = MARKS[step.state]
    said = f"{mark} {step.revision} {step.status:12} {step.records:>9,} records {step.seconds or 0:6.1f} s"
    return f"{said} {amount(step.backup_bytes):>9} backup   {step.description}"


def steps_table(steps: tuple[Step, ...], *, going: bool, title: str | None = None) -> Table:
    """Draw steps: while they go with what they do, and then with what their backups take."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1))
    for heading, justify in (("", "left"), ("revision", "left"), ("description", "left"), ("status", "left")):
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=heading != "description")  # type: ignore[arg-type]
    table.add_column("records", justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("doing" if going else "backup", justify="left" if going else "right", no_wrap=True)
    for step in steps:
        mark, style = MARKS[step.state]
        table.add_row(
            mark,
            step.revision,
            step.description,
            step.status,
            f"{step.records:,}" if step.records else "",
            "" if step.seconds is None else f"{step.seconds:.1f}",
            step.doing if going else amount(step.backup_bytes) if step.over else "",
            style=style,
        )
    return table


def bars(steps: tuple[Step, ...]) -> Table:
    """Draw a bar for each revision that goes on; one of unknown length where nobody knows how much there is."""
    table = Table.grid(padding=(0, 1))
    for step in steps:
        if step.pace is not None:
            pace = step.pace
            total = None if pace.estimate is None else float(max(pace.estimate, pace.read, 1))
            bar = ProgressBar(total=total, completed=float(pace.read), width=BAR, pulse=total is None)
            table.add_row(step.revision, bar, Text(pace_words(pace)))
    return table


def pace_words(pace: Pace) -> str:
    """Say how far a step is, how fast it goes and how long it still takes, as far as that is known."""
    of = "" if pace.estimate is None else f" of about {pace.estimate:,}"
    said = f"{pace.read:,}{of} records"
    if pace.rate is not None:
        said += f", {pace.rate:,.0f}/s"
    if pace.left is not None:
        said += f", about {duration(pace.left)} left"
    return said if pace.held is None else f"{said}; held: {pace.held}"


def amount(size: int) -> str:
    """Say a number of bytes."""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {UNITS[unit]}" if unit == 0 else f"{value:.1f} {UNITS[unit]}"
