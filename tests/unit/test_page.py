"""What pages are made of: everything escaped, what is long folded."""

from __future__ import annotations

from lockstep.web.page import table


def test_a_short_value_is_shown_and_a_long_one_is_folded_under_its_names() -> None:
    short = table("Entries", [{"detail": {"n": 1}}])
    assert '<td><code>{"n": 1}</code></td>'.replace('"', "&quot;") in short
    assert "<details>" not in short
    long = table("Entries", [{"detail": {"<b>error": "x" * 200, "host": "w1"}}, {"detail": ["y" * 300]}])
    assert "<details><summary>&lt;b&gt;error, host</summary><code>{" in long
    assert "<summary>1 of them</summary>" in long
    assert "<b>" not in long


def test_only_a_word_that_is_longer_than_a_column_should_be_is_broken() -> None:
    shown = table(
        "Runs", [{"id": "66", "run": "0011-up-20261123T005254-8d5385", "why": "the lock was not free"}]
    )
    assert '<td>66</td><td><span class="long">0011-up-20261123T005254-8d5385</span></td>' in shown
    assert "<td>the lock was not free</td>" in shown
