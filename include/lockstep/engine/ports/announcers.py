"""The port to who waits for the verdict of a rehearsal: a pull request, a deployment, a webhook."""

from __future__ import annotations

from typing import Protocol

from lockstep.domain.announcement import Announcement, Sent


class Announcer(Protocol):
    """One place that is told. Called once for each state, in their order, and again after an Unavailable."""

    name: str

    def send(self, news: Announcement, *, tried_before: bool) -> Sent:
        """Tell it; with `tried_before`, an earlier try of the same may have arrived.

        Unavailable, with `retry_after` in seconds where the other side names them, for what another try may
        mend; Refused, in the other side's words, for what it would not. A field `keep` of either is kept like
        `Sent.keep`.
        """
