"""When a run may work: spans, days, zones, midnight, and the nights when clocks are changed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from lockstep.domain.errors import Refused
from lockstep.domain.window import Window

HOUR = 3600.0


def at(text: str) -> datetime:
    """Return a moment of UTC, such as "2026-03-29 01:30"."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def opens(window: str, moment: str) -> float:
    return Window.parse(window).opens(at(moment))


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_window_is_always_open(text: str) -> None:
    assert opens(text, "2026-01-01 12:00") == 0.0
    assert str(Window.parse(text)) == "always"


def test_a_window_is_shown_as_it_was_written() -> None:
    assert str(Window.parse(" 01:00-05:00 Asia/Singapore ")) == "01:00-05:00 Asia/Singapore"


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("2026-01-05 17:00", 0.0),
        ("2026-01-05 20:59:59", 0.0),
        ("2026-01-05 21:00", 20 * HOUR),
        ("2026-01-05 16:59:30", 30.0),
    ],
)
def test_a_span_is_read_on_the_clock_of_its_zone(moment: str, seconds: float) -> None:
    assert opens("01:00-05:00 Asia/Singapore", moment) == seconds


def test_the_zone_of_whoever_asks_does_not_matter() -> None:
    window = Window.parse("01:00-05:00 Asia/Singapore")
    elsewhere = at("2026-01-05 16:00").astimezone(timezone(timedelta(hours=-7)))

    assert window.opens(elsewhere) == HOUR


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("2026-01-09 22:00", 0.0),  # a Friday
        ("2026-01-10 03:59", 0.0),  # the night that began on Friday
        ("2026-01-10 04:00", 66 * HOUR),
        ("2026-01-10 23:00", 47 * HOUR),
        ("2026-01-12 03:00", 19 * HOUR),  # the night that began on Sunday
    ],
)
def test_a_span_over_midnight_belongs_to_the_day_it_starts_on(moment: str, seconds: float) -> None:
    assert opens("Mon-Fri 22:00-04:00 UTC", moment) == seconds


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("2026-01-10 00:00", 0.0),
        ("2026-01-11 23:59:59", 0.0),
        ("2026-01-12 00:00", 5 * 24 * HOUR),
    ],
)
def test_days_may_be_listed_and_a_day_ends_at_24(moment: str, seconds: float) -> None:
    assert opens("Sat,Sun 00:00-24:00 UTC", moment) == seconds


def test_the_first_of_several_spans_to_open_counts() -> None:
    window = "01:00-02:00, Sat-Sun 13:00-14:00 UTC"

    assert opens(window, "2026-01-09 12:00") == 13 * HOUR
    assert opens(window, "2026-01-10 12:00") == HOUR
    assert opens("01:00-02:00 Asia/Singapore, 01:00-02:00 UTC", "2026-01-10 00:30") == 0.5 * HOUR


def test_days_may_wrap_around_the_week_and_be_written_out() -> None:
    assert opens("saturday-Mon 00:00-24:00 UTC", "2026-01-12 12:00") == 0.0
    assert opens("saturday-Mon 00:00-24:00 UTC", "2026-01-13 00:00") == 4 * 24 * HOUR


@pytest.mark.parametrize(
    ("window", "moment", "seconds"),
    [
        # 02:00 becomes 03:00 at 01:00 UTC
        ("02:30-04:00", "2026-03-29 00:59:30", 30.0),
        ("02:30-04:00", "2026-03-29 01:59", 0.0),
        ("02:30-04:00", "2026-03-29 02:00", 22.5 * HOUR),
        ("01:00-05:00", "2026-03-29 03:00", 20 * HOUR),
        # what lies wholly in the hour that is left out opens a day, or a week, later
        ("02:00-03:00", "2026-03-29 00:30", 23.5 * HOUR),
        ("Sun 02:00-03:00", "2026-03-29 00:30", 7 * 24 * HOUR - 0.5 * HOUR),
        # 03:00 becomes 02:00 at 01:00 UTC, so that 02:30 comes twice
        ("02:30-02:45", "2026-10-25 00:00", 0.5 * HOUR),
        ("02:30-02:45", "2026-10-25 00:50", 40 * 60.0),
        ("02:30-02:45", "2026-10-25 01:45", 23.75 * HOUR),
        ("01:00-05:00", "2026-10-25 03:59", 0.0),
    ],
)
def test_the_change_of_clocks_is_followed(window: str, moment: str, seconds: float) -> None:
    assert opens(f"{window} Europe/Berlin", moment) == seconds


def test_what_opens_says_is_when_it_is_open_and_not_before() -> None:
    window = Window.parse("Tue 03:10-03:20 America/New_York, Fri 23:50-00:10 America/New_York")
    moment = at("2026-02-27 00:00")
    for _ in range(400):
        seconds = window.opens(moment)
        if seconds:
            assert window.opens(moment + timedelta(seconds=seconds)) == 0.0
            assert window.opens(moment + timedelta(seconds=seconds - 1)) == 1.0
        moment += timedelta(minutes=61)


@pytest.mark.parametrize(
    ("window", "part", "problem"),
    [
        ("25:00-26:00 UTC", "25:00-26:00 UTC", "25:00 is no time of day"),
        ("01:60-02:00 UTC", "01:60-02:00 UTC", "01:60 is no time of day"),
        ("01:00-05:00", "01:00-05:00", "no time zone is named"),
        ("01:00-05:00 Asia/Singapour", "Asia/Singapour", "no time zone of the tz database"),
        ("01:00-05:00 ../../etc/passwd", "../../etc/passwd", "no time zone of the tz database"),
        ("01:00-05:00 Europe", "Europe", "no time zone of the tz database"),
        ("Xyz 01:00-05:00 UTC", "Xyz", "no day of the week"),
        ("01:00-01:00 UTC", "01:00-01:00 UTC", "it holds no time"),
        ("at night", "at night", "neither days nor a span of time"),
        ("01:00-05:00 UTC, Sat", "Sat", "these days have no time after them"),
        ("01:00-02:00 UTC, 03:00-04:00, 05:00-06:00 Asia/Tokyo", "03:00-04:00", "no time zone is named"),
        (",", "", "neither days nor a span of time"),
    ],
)
def test_a_bad_text_is_refused_by_the_part_that_is_wrong(window: str, part: str, problem: str) -> None:
    with pytest.raises(Refused, match="Write it as in") as refused:
        Window.parse(window)

    assert refused.value.fields["part"] == part
    assert problem in str(refused.value)
