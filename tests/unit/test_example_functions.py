"""The functions of the example revisions do what they say, and the inverses undo it."""

import importlib.util
import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from campus import data
from campus.shapes import Size
from lockstep.domain.objects import ObjectInfo, StoredObject

ROOT = Path(__file__).parents[2]
SMALL = Size(users=400, submissions=300, sessions=10, uploads=120)
CREATED = datetime(2025, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def module(stem: str, folder: str = "migrations") -> ModuleType:
    """Load a revision's file as a module of its own."""
    path = next((ROOT / folder).glob(f"{stem}_*.py"))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def quiz(**changes: Any) -> StoredObject:
    answers = [{"question": "q1", "text": "water"}, {"question": "q2", "text": "light, force"}]
    given = {
        "key": "uploads/quizzes/k3y.json",
        "body": json.dumps({"assignment_id": "asg-1", "answers": answers}, indent=1).encode(),
        "content_type": "application/json",
        "metadata": {"owner-id": "uid-user-1", "kind": "quiz-export", "schema": "2"},
    }
    return StoredObject(**(given | changes))


class Hands:
    """Hand out what a test gives for each resource."""

    def __init__(self, **handles: Any) -> None:
        self.handles = handles

    def open(self, resource: Any) -> Any:
        return self.handles[resource.name]


class Recorded:
    """A connection or a collection that answers as it was told, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    def execute(self, query: str) -> "Recorded":
        self.asked.append(query)
        return self

    def fetchone(self) -> Any:
        return self.answers.pop(0)

    def aggregate(self, pipeline: list[Any]) -> Any:
        self.asked.append(pipeline)
        return iter(self.answers)

    def cursor(self) -> "Recorded":
        return self

    def executemany(self, query: str, rows: list[Any]) -> None:
        self.asked.append((query, rows))


def test_reference_rows_and_documents_are_the_same_on_every_day() -> None:
    row = module("0001").starter("asg-1", "Say hello")
    document = module("0002").rubric("rub-1", "Good", 2)
    assert row["created_at"] == document["created_at"] == datetime(2024, 9, 1, tzinfo=timezone.utc)
    assert (row["id"], document["_id"]) == ("asg-1", "rub-1")


def test_every_response_is_stamped_with_its_submissions_time() -> None:
    submission = {
        "_id": "s",
        "created_at": CREATED,
        "responses": [{"question_id": "q", "response_text": "x"}],
    }
    stamped = module("0003").stamp(submission)
    assert stamped["responses"] == [{"question_id": "q", "response_text": "x", "created_at": CREATED}]
    assert submission["responses"] == [{"question_id": "q", "response_text": "x"}], "its input was changed"


def test_a_response_keeps_a_stamp_of_its_own() -> None:
    own = datetime(2026, 1, 1, tzinfo=timezone.utc)
    submission = {"_id": "s", "created_at": CREATED, "responses": [{"created_at": own, "question_id": "q"}]}
    assert module("0003").stamp(submission) == submission


@pytest.mark.parametrize("submission", [{"_id": "s", "created_at": CREATED}, {"_id": "s", "responses": []}])
def test_a_submission_without_responses_stays_as_it_is(submission: dict[str, Any]) -> None:
    revision = module("0003")
    assert revision.stamp({"created_at": CREATED} | submission) == {"created_at": CREATED} | submission
    assert revision.unstamp(submission) == submission


def test_unstamping_undoes_stamping_field_order_included() -> None:
    revision = module("0003")
    for submission in data.submissions(SMALL):
        back = revision.unstamp(revision.stamp(submission))
        assert json.dumps(back, default=str) == json.dumps(submission, default=str)


def test_invalid_indexes_are_counted_in_words() -> None:
    check = module("0004").indexes_are_valid
    assert check(Hands(traces=Recorded((0,)))) is None
    assert "2 of its indexes are INVALID" in check(Hands(traces=Recorded((2,))))


@pytest.mark.parametrize(
    "typed",
    [
        "ADA.LOPEZ7@CAMPUS.EXAMPLE",
        "  ada.lopez7@campus.example ",
        "ada.lopez7 at campus.example",
        "ada..lopez7@campus.example",
        "ada.lopez7@campus..example",
        "ada.lopez7@campus.example,",
        " Ada...Lopez7 at Campus.Example, ",
        "ada.lopez7@campus.example",
    ],
)
def test_a_mistyped_address_becomes_the_one_that_was_meant(typed: str) -> None:
    user = {"id": "uid-user-1", "email": typed}
    assert module("0007").repair(user) == {"id": "uid-user-1", "email": "ada.lopez7@campus.example"}


def test_every_address_that_campus_has_can_be_repaired() -> None:
    revision = module("0007")
    typed = [{"id": user.id, "email": user.email} for user in data.users(SMALL)]
    repaired = [revision.repair(user)["email"] for user in typed]
    assert all(re.search(revision.WELL_FORMED, email) for email in repaired)
    assert len(set(repaired)) == len(repaired)
    assert sum(old["email"] != new for old, new in zip(typed, repaired, strict=True)) == 12


@pytest.mark.parametrize(
    "email", ["a b@c.example", "A@c.example", "a@c", "a@c..example", "a..b@c.example", "a@c.example,", "@c.d"]
)
def test_the_verification_refuses_a_malformed_address(email: str) -> None:
    assert not re.search(module("0007").WELL_FORMED, email)


def test_avatars_are_spread_and_gathered_again() -> None:
    revision = module("0009")
    assert revision.spread("x7fk2.jpg") == "x7/x7fk2.jpg"
    keys = [u.key.removeprefix("uploads/avatars/") for u in data.uploads(SMALL) if "/avatars/" in u.key]
    assert keys
    assert [revision.gather(revision.spread(key)) for key in keys] == keys


def test_an_avatar_put_at_the_top_since_is_gathered_too() -> None:
    assert module("0009").gather("new.jpg") == "new.jpg"


def test_tags_are_added_and_taken_off_and_others_stay() -> None:
    revision = module("0009")
    avatar = ObjectInfo(key="avatars/x7/x7f.jpg", size=3, metadata={"kind": "avatar"}, tags={"seen": "1"})
    tagged = revision.tag(avatar)
    assert tagged.tags == {"seen": "1", "kind": "avatar", "public": "yes"}
    assert revision.untag(tagged) == avatar


def test_a_quiz_export_loses_its_padding_and_nothing_else() -> None:
    before = quiz()
    after = module("0009").compact(before)
    assert json.loads(after.body) == json.loads(before.body)
    assert len(after.body) < len(before.body)
    assert after.metadata == {**before.metadata, "schema": "3"}
    assert (after.key, after.content_type) == (before.key, before.content_type)


def test_a_profile_tells_the_name_and_not_the_address() -> None:
    user = {
        "id": "uid-user-1",
        "display_name": "Ada",
        "email": "ada@campus.example",
        "created_at": CREATED,
        "profile_key": "profiles/uid-user-1.json",
    }
    made = module("0010").profile(user)
    assert made.key == "profiles/uid-user-1.json"
    assert json.loads(made.body) == {"id": "uid-user-1", "name": "Ada", "since": "2025-01-02"}


def test_a_quiz_export_becomes_a_row() -> None:
    row = {"id": "k3y", "owner_id": "uid-user-1", "assignment_id": "asg-1", "answers": 2}
    assert module("0011").summary(quiz()) == row
    assert module("0011").summary(quiz(metadata={})) == {**row, "owner_id": None}


def test_submissions_are_counted_in_one_store_and_kept_in_another() -> None:
    submissions = Recorded({"_id": "crs-001", "count": 3}, {"_id": "crs-002", "count": 5})
    totals = Recorded()
    revision = module("0011")
    revision.count_submissions(Hands(submissions=submissions, submission_totals=totals))
    assert totals.asked == [(revision.REPLACE, [("crs-001", 3), ("crs-002", 5)])]


def test_the_totals_can_be_forgotten() -> None:
    totals = Recorded()
    module("0011").forget_totals(Hands(submission_totals=totals))
    assert totals.asked == ["DELETE FROM submission_totals"]


def test_the_failure_example_fails_at_its_record_and_not_before() -> None:
    revision = module("0012", "examples/failure")
    submission = {"_id": "sub-1", "responses": [{"response_text": "two words"}, {"response_text": "one"}]}
    counted: Callable[[dict[str, Any]], Any] = revision.word_count
    for _ in range(6_499):
        assert counted(submission)["words"] == 3
    with pytest.raises(ValueError, match="'sub-1' cannot be counted"):
        counted(submission)


def test_the_failure_example_changes_every_user_and_upload_before() -> None:
    revision = module("0012", "examples/failure")
    assert revision.surname_first({"id": "u", "name": "Ada Lopez"}) == {"id": "u", "name": "Lopez, Ada"}
    upload = ObjectInfo(key="uploads/x", size=1, metadata={"kind": "essay"})
    assert revision.mark_reviewed(upload).metadata == {"kind": "essay", "reviewed": "yes"}
