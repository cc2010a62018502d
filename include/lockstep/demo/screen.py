"""What a person sees: a table that changes while it is looked at, or plain lines where there is no terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from lockstep.demo.progress import Step

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
            self.live.update(steps_table(steps, going=True))


@dataclass(kw_only=True)
class Lines(Follower):
    """Write one line for each step that is over."""

    screen: Screen
    told: set[str] = field(default_factory=set)

    def update(self, steps: tuple[Step, ...]) -> None:
        """Write what is over since the last time."""
        for step in steps:
            if step.over and step.revision not in self.told:
                self.told.add(step.revision)
                self.screen.say(line(step))


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


def amount(size: int) -> str:
    """Say a number of bytes."""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {UNITS[unit]}" if unit == 0 else f"{value:.1f} {UNITS[unit]}"
