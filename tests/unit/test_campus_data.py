"""The example application's data is the same everywhere, and shaped as Campus shapes it."""

import hashlib
import re
from collections import Counter
from datetime import datetime, timedelta

import pytest

from campus import data
from campus.shapes import Size

SMALL = Size(users=400, submissions=500, sessions=300, uploads=120)
WELL_FORMED = re.compile(r"[a-z]+\.[a-z]+\d+@[a-z]+(\.[a-z]+)+")


def digest(size: Size) -> str:
    """Hash everything that is generated."""
    made = [list(make(size)) for make in (data.users, data.sessions, data.submissions, data.uploads)]
    return hashlib.sha256(repr(made).encode()).hexdigest()


def test_the_same_seed_makes_the_same_bytes() -> None:
    assert digest(SMALL) == digest(SMALL)


def test_the_bytes_are_those_of_every_other_machine() -> None:
    assert (
        digest(Size(users=20, submissions=20, sessions=20, uploads=20))
        == "00bbd018531baab91860f3fb032271b9d30a36e291577f7aeaf4dc9c00095774"
    )


def test_another_seed_makes_other_data() -> None:
    assert digest(SMALL) != digest(Size(users=400, submissions=500, sessions=300, uploads=120, seed=28))


def test_more_users_leave_the_assignments_as_they_are() -> None:
    assert {one["assignment_id"] for one in data.submissions(SMALL)} <= set(data.assignment_ids())
    assert len(set(data.assignment_ids())) == data.ASSIGNMENTS


def test_every_id_is_unique_and_says_what_it_names() -> None:
    for rows, prefix in ((data.users(SMALL), "uid-user-"), (data.sessions(SMALL), "ses-")):
        ids = [row.id for row in rows]
        assert len(set(ids)) == len(ids)
        assert all(one.startswith(prefix) for one in ids)
    ids = [one["_id"] for one in data.submissions(SMALL)]
    assert len(set(ids)) == SMALL.submissions
    keys = [one.key for one in data.uploads(SMALL)]
    assert len(set(keys)) == SMALL.uploads


def test_three_in_a_hundred_addresses_are_malformed_in_several_ways() -> None:
    wrong = [user.email for user in data.users(Size()) if not WELL_FORMED.fullmatch(user.email)]
    assert len(wrong) == 60
    ways = Counter(
        next(
            (
                way
                for way, seen in (
                    ("upper case", email.isupper()),
                    ("blanks", email != email.strip()),
                    ("at", " at " in email),
                    ("dots", ".." in email),
                    ("comma", email.endswith(",")),
                )
                if seen
            ),
            "unknown",
        )
        for email in wrong
    )
    assert set(ways) == {"upper case", "blanks", "at", "dots", "comma"}


def test_repaired_addresses_are_unique() -> None:
    repaired = [
        re.sub(r"\.+", ".", user.email.strip().rstrip(",").replace(" at ", "@")).lower()
        for user in data.users(Size())
    ]
    assert all(WELL_FORMED.fullmatch(email) for email in repaired)
    assert len(set(repaired)) == len(repaired)


def test_sessions_belong_to_users_and_end_after_they_began() -> None:
    owners = set(data.user_ids(SMALL))
    for session in data.sessions(SMALL):
        assert session.user_id in owners
        assert session.created_at < session.expires_at


def test_submissions_have_campus_shape() -> None:
    optional = {"submitted_at", "updated_at"}
    fields = ["_id", "created_at", "assignment_id", "student_id", "course_id", "responses", "feedback"]
    for document in data.submissions(SMALL):
        assert [name for name in document if name not in optional] == fields
        assert None not in document.values()
        assert 1 <= len(document["responses"]) <= 6
        assert len(document["feedback"]) <= 3
        asked = data.question_ids(document["assignment_id"])
        assert all(one["question_id"] in asked for one in document["responses"])
        assert all(set(one) == {"question_id", "response_text"} for one in document["responses"])


@pytest.mark.parametrize("field", ["submitted_at", "updated_at"])
def test_some_submissions_lack_an_optional_date(field: str) -> None:
    having = sum(field in document for document in data.submissions(SMALL))
    assert 0 < having < SMALL.submissions


def test_dates_hold_whole_milliseconds_in_utc() -> None:
    def dates() -> list[datetime]:
        users = [
            moment for user in data.users(SMALL) for moment in (user.created_at, user.activated_at) if moment
        ]
        documents = [
            value for one in data.submissions(SMALL) for value in one.values() if isinstance(value, datetime)
        ]
        return users + documents

    assert all(moment.microsecond % 1000 == 0 and moment.utcoffset() == timedelta() for moment in dates())


def test_uploads_are_small_objects_with_a_type_and_an_owner() -> None:
    owners = set(data.user_ids(SMALL))
    kinds = Counter(upload.key.rsplit(".", 1)[1] for upload in data.uploads(SMALL))
    assert set(kinds) == {"jpg", "txt", "json"}
    for upload in data.uploads(SMALL):
        assert upload.key.startswith("uploads/")
        assert 200 <= len(upload.body) <= 60_000
        assert upload.content_type
        assert upload.metadata["owner-id"] in owners
