"""When a run may work: spans of the clock on the wall, somewhere in the world."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lockstep.domain.errors import Refused

EXAMPLES = '"01:00-05:00 Asia/Singapore" or "Mon-Fri 22:00-04:00, Sat,Sun 00:00-24:00 Europe/Berlin"'

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY = r"[A-Za-z]{3,9}"
_ONLY_DAYS = re.compile(rf"{_DAY}(?:\s*-\s*{_DAY})?")
_SPAN = re.compile(
    rf"(?:(?P<days>{_DAY}(?:\s*-\s*{_DAY})?)\s+)?"
    r"(?P<start>\d{1,2}:\d{2})\s*-\s*(?P<end>\d{1,2}:\d{2})(?:\s+(?P<zone>\S+))?"
)
_MINUTES = 24 * 60
#: A span on one weekday that the change of clocks swallows opens a week later.
_LOOK_AHEAD = timedelta(days=15)
#: Clocks are changed on one of these.
_GRID = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class Span:
    """Some time of some days; one that ends before it starts goes over midnight, and belongs to its first day."""

    #: 0 for Monday
    days: frozenset[int]
    #: minutes of the day
    start: int
    end: int
    zone: ZoneInfo

    def has(self, moment: datetime) -> bool:
        """Say whether the clock on the wall shows a time of this span."""
        local = moment.astimezone(self.zone)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        late, early = minute >= self.start, minute < self.end
        return (late and day in self.days) or (early and (day - 1) % 7 in self.days)

    def starts(self, after: datetime) -> Iterator[datetime]:
        """Yield the moments at which it may begin, in UTC; an hour that comes twice has two."""
        today = after.astimezone(self.zone).date()
        at = time(*divmod(self.start, 60))
        for days in range(_LOOK_AHEAD.days + 1):
            local = datetime.combine(today + timedelta(days=days), at, self.zone)
            for fold in (0, 1):
                yield local.replace(fold=fold).astimezone(timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Window:
    """The spans in which a run may work; none of them means always."""

    text: str = ""
    spans: tuple[Span, ...] = ()

    def __str__(self) -> str:
        return self.text or "always"

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read "days hh:mm-hh:mm zone", and more of them behind commas; Refused says which part is wrong.

        Days may be left out, for every day. A zone that is named once holds for all spans.
        """
        written: list[tuple[str, frozenset[int], re.Match[str]]] = []
        days: frozenset[int] = frozenset()
        part = ""
        for part in (piece.strip() for piece in text.split(",") if text.strip()):
            if _ONLY_DAYS.fullmatch(part):
                days |= _days(text, part)
                continue
            found = _SPAN.fullmatch(part)
            if found is None:
                raise _refused(text, part, "this is neither days nor a span of time")
            if found["days"]:
                days |= _days(text, found["days"])
            written.append((part, days, found))
            days = frozenset()
        if days:
            raise _refused(text, part, "these days have no time after them")
        zones = {found["zone"] for _, _, found in written} - {None}
        shared = zones.pop() if len(zones) == 1 else None
        return cls(
            text=text.strip(),
            spans=tuple(_span(text, part, on, found, shared) for part, on, found in written),
        )

    def opens(self, now: datetime) -> float:
        """Return the seconds until work may go on, 0.0 where it may now. `now` knows its time zone."""
        if not self.spans or self._has(now):
            return 0.0
        hour = now.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
        moments = {hour + step * _GRID for step in range(_LOOK_AHEAD // _GRID)}
        moments.update(start for span in self.spans for start in span.starts(now))
        ahead = sorted(moment for moment in moments if moment > now)
        return (next(filter(self._has, ahead), ahead[-1]) - now).total_seconds()

    def _has(self, moment: datetime) -> bool:
        return any(span.has(moment) for span in self.spans)


def _span(text: str, part: str, days: frozenset[int], found: re.Match[str], shared: str | None) -> Span:
    start, end = _minute(text, part, found["start"]), _minute(text, part, found["end"])
    if start in (end, _MINUTES):
        raise _refused(text, part, "it holds no time; write 00:00-24:00 for whole days")
    named = found["zone"] or shared
    if named is None:
        raise _refused(text, part, "no time zone is named")
    return Span(days=days or frozenset(range(7)), start=start, end=end, zone=_zone(text, named))


def _minute(text: str, part: str, clock: str) -> int:
    hour, minute = map(int, clock.split(":"))
    if minute > 59 or hour * 60 + minute > _MINUTES:
        raise _refused(text, part, f"{clock} is no time of day")
    return hour * 60 + minute


def _days(text: str, part: str) -> frozenset[int]:
    first, _, last = (name.strip() for name in part.partition("-"))
    begin = _day(text, first)
    end = _day(text, last) if last else begin
    return frozenset((begin + days) % 7 for days in range((end - begin) % 7 + 1))


def _day(text: str, name: str) -> int:
    found = [number for number, day in enumerate(_DAYS) if day.startswith(name.lower())]
    if not found:
        raise _refused(text, name, "this is no day of the week")
    return found[0]


def _zone(text: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _refused(text, name, "this is no time zone of the tz database") from None


def _refused(text: str, part: str, problem: str) -> Refused:
    return Refused(
        f"the window {text!r} cannot be read at {part!r}: {problem}. Write it as in {EXAMPLES}.",
        window=text,
        part=part,
    )
