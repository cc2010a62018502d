"""Why Airflow could not be asked.

LockstepError
├── Unavailable
│   └── AirflowAway      nobody answered for as long as the caller has patience
└── Refused
    ├── NoCredentials    there is nothing to log in with
    └── AirflowRefused   it answered no
"""

from __future__ import annotations

from typing import Any

from lockstep.domain.errors import Refused, Unavailable

#: characters of an answer that are shown
_SHOWN = 500

_NEXT = {
    400: "Mend what was asked for.",
    401: "Look at the credentials: the user's name and password, or a token that is still good.",
    403: "The user may not do this, or the token is none of this Airflow's. Starting runs takes the role User.",
    404: "Look at the address of Airflow, and whether it has read the file of this DAG: its home page lists import "
    "errors.",
}


class AirflowAway(Unavailable):
    """Nobody answered, or nobody who could: how often it was tried, and for how long."""

    def __init__(self, address: str, seconds: float, last: str) -> None:
        super().__init__(
            f"Airflow at {address} gave no answer for {seconds:.0f} s; the last was: {last}.",
            address=address,
            seconds=seconds,
            last=last,
        )
        self.address = address
        self.seconds = seconds
        self.last = last

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.address, self.seconds, self.last))


class NoCredentials(Refused):
    """Neither a token nor a user's name and password is where they are looked for."""


class AirflowRefused(Refused):
    """Airflow understood and said no: which request, the status, and its words."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        said = " ".join(text.split())[:_SHOWN]
        following = _NEXT.get(status, "")
        super().__init__(
            f"Airflow answered {status} to {method} {path}: {said or 'without a word'}. {following}".rstrip(),
            method=method,
            path=path,
            status=status,
        )
        self.method = method
        self.path = path
        self.status = status
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.method, self.path, self.status, self.text))
