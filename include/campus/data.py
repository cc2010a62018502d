"""Make Campus's data: the same bytes for the same seed, on every machine. Pure; `campus.fill` stores it."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from random import Random

from campus.shapes import Document, Session, Size, Upload, User
from campus.words import FIRST, LAST, paragraph, sentence

#: Everything happened within this window, whatever the day on which it is generated.
FIRST_DAY = datetime(2024, 9, 2, 7, tzinfo=timezone.utc)
LAST_DAY = datetime(2026, 6, 26, 18, tzinfo=timezone.utc)
SCHOOL_DOMAINS = ("campus.example", "students.campus.example", "north.school.example")
CLIENTS = ("campus-web", "campus-ios", "campus-android")
ASSIGNMENTS = 120
COURSES = 40
QUESTIONS = 6
#: Shares, of one.
MALFORMED = 0.03
NEVER_ACTIVATED = 0.08
SUBMITTED = 0.8
EVER_UPDATED = 0.6
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def assignment_ids(seed: int = Size.seed) -> tuple[str, ...]:
    """Return the ids of the assignments that submissions refer to, in a fixed order."""
    rng = _rng(seed, "assignments")
    return tuple(_id(rng, "asg-", 12) for _ in range(ASSIGNMENTS))


def question_ids(assignment_id: str) -> tuple[str, ...]:
    """Return the ids of an assignment's questions, in their order."""
    return tuple(f"{assignment_id.replace('asg-', 'qst-', 1)}-{number}" for number in range(1, QUESTIONS + 1))


def user_ids(size: Size) -> tuple[str, ...]:
    """Return the ids of all users."""
    rng = _rng(size.seed, "user ids")
    return tuple(_id(rng, "uid-user-", 16) for _ in range(size.users))


def teacher_ids(size: Size) -> tuple[str, ...]:
    """Return the ids of the users who teach: the first twentieth."""
    ids = user_ids(size)
    return ids[: max(1, len(ids) // 20)]


def users(size: Size) -> Iterator[User]:
    """Yield the rows of users; a few of the addresses are malformed, the way people type them."""
    rng = _rng(size.seed, "users")
    wrong = set(_rng(size.seed, "malformed").sample(range(size.users), round(size.users * MALFORMED)))
    for number, user_id in enumerate(user_ids(size)):
        first, last = rng.choice(FIRST), rng.choice(LAST)
        email = f"{first}.{last}{number}@{rng.choice(SCHOOL_DOMAINS)}".lower()
        created = _moment(rng, FIRST_DAY, LAST_DAY)
        activated = created + timedelta(milliseconds=rng.randint(60_000, 10**9))
        yield User(
            id=user_id,
            email=_malform(rng, email) if number in wrong else email,
            name=f"{first} {last}",
            created_at=created,
            activated_at=None if rng.random() < NEVER_ACTIVATED else activated,
        )


def sessions(size: Size) -> Iterator[Session]:
    """Yield the rows of sessions."""
    rng = _rng(size.seed, "sessions")
    owners = user_ids(size)
    for _ in range(size.sessions):
        created = _moment(rng, FIRST_DAY, LAST_DAY)
        yield Session(
            id=_id(rng, "ses-", 24),
            user_id=rng.choice(owners),
            client_id=rng.choice(CLIENTS),
            expires_at=created + timedelta(days=rng.choice((1, 14, 30))),
            created_at=created,
        )


def submissions(size: Size) -> Iterator[Document]:
    """Yield the documents of submissions; a field without a value is left out."""
    rng = _rng(size.seed, "submissions")
    assignments, students, teachers = assignment_ids(size.seed), user_ids(size), teacher_ids(size)
    courses = [f"crs-{number:03}" for number in range(COURSES)]
    for _ in range(size.submissions):
        created = _moment(rng, FIRST_DAY, LAST_DAY)
        position = rng.randrange(len(assignments))
        document: Document = {
            "_id": _id(rng, "sub-", 16),
            "created_at": created,
            "assignment_id": assignments[position],
            "student_id": rng.choice(students),
            "course_id": courses[position % COURSES],
            "responses": _responses(rng, assignments[position]),
            "feedback": _feedback(rng, assignments[position], teachers, created),
        }
        if rng.random() < SUBMITTED:
            document["submitted_at"] = _later(rng, created)
        if rng.random() < EVER_UPDATED:
            document["updated_at"] = _later(rng, document.get("submitted_at", created))
        yield document


def uploads(size: Size) -> Iterator[Upload]:
    """Yield the objects below uploads/: avatars, essays and exported quizzes."""
    rng = _rng(size.seed, "uploads")
    owners = user_ids(size)
    makers = (_avatar, _essay, _quiz)
    for _ in range(size.uploads):
        owner = rng.choice(owners)
        yield rng.choices(makers, weights=(5, 3, 2))[0](rng, owner, size.seed)


def _responses(rng: Random, assignment: str) -> list[Document]:
    asked = question_ids(assignment)[: rng.randint(1, QUESTIONS)]
    return [{"question_id": question, "response_text": sentence(rng, 3, 25)} for question in asked]


def _feedback(rng: Random, assignment: str, teachers: tuple[str, ...], created: datetime) -> list[Document]:
    return [
        {
            "question_id": rng.choice(question_ids(assignment)),
            "feedback_text": sentence(rng, 3, 12),
            "teacher_id": rng.choice(teachers),
            "created_at": _later(rng, created),
        }
        for _ in range(rng.choices((0, 1, 2, 3), weights=(4, 3, 2, 1))[0])
    ]


def _avatar(rng: Random, owner: str, _seed: int) -> Upload:
    header = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
    body = header + rng.randbytes(_length(rng)) + bytes.fromhex("ffd9")
    metadata = {"owner-id": owner, "kind": "avatar", "width": str(rng.choice((64, 128, 256)))}
    return Upload(
        key=f"uploads/avatars/{_id(rng, '', 16)}.jpg", body=body, content_type="image/jpeg", metadata=metadata
    )


def _essay(rng: Random, owner: str, seed: int) -> Upload:
    assignment = rng.choice(assignment_ids(seed))
    body = paragraph(rng, _length(rng)).encode()
    metadata = {"owner-id": owner, "kind": "essay", "assignment-id": assignment}
    key = f"uploads/essays/{assignment}/{_id(rng, '', 16)}.txt"
    return Upload(key=key, body=body, content_type="text/plain; charset=utf-8", metadata=metadata)


def _quiz(rng: Random, owner: str, seed: int) -> Upload:
    assignment = rng.choice(assignment_ids(seed))
    answers = [
        {"question": rng.choice(question_ids(assignment)), "text": paragraph(rng, 120)} for _ in range(12)
    ]
    body = json.dumps({"assignment_id": assignment, "answers": answers}, indent=1).encode()
    metadata = {"owner-id": owner, "kind": "quiz-export", "schema": "2"}
    key = f"uploads/quizzes/{_id(rng, '', 16)}.json"
    return Upload(key=key, body=body, content_type="application/json", metadata=metadata)


def _malform(rng: Random, email: str) -> str:
    name, _, domain = email.partition("@")
    return rng.choice(
        (
            email.upper(),
            f"  {email} ",
            f"{name} at {domain}",
            f"{name.replace('.', '..', 1)}@{domain}",
            f"{name}@{domain.replace('.', '..', 1)}",
            f"{email},",
        )
    )


def _rng(seed: int, purpose: str) -> Random:
    # One stream for each purpose: more users must not change the submissions' texts.
    return Random(f"campus {seed} {purpose}")  # noqa: S311


def _id(rng: Random, prefix: str, length: int) -> str:
    return prefix + "".join(rng.choices(ALPHABET, k=length))


def _moment(rng: Random, first: datetime, last: datetime) -> datetime:
    # Whole milliseconds, which is all that a BSON date holds.
    window = (last - first) // timedelta(milliseconds=1)
    return first + timedelta(milliseconds=rng.randrange(window))


def _later(rng: Random, moment: datetime) -> datetime:
    return moment + timedelta(milliseconds=rng.randint(60_000, 14 * 24 * 3600 * 1000))


def _length(rng: Random) -> int:
    # Most are small; 200 B to 59 kB.
    return int(200 + 58_800 * rng.random() ** 3)
