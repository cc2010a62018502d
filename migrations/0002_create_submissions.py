"""Create submissions and rubrics, with the rubrics that every teacher starts with."""

from datetime import datetime, timezone

from lockstep import ops
from resources import Rubrics, Submissions

revision = "0002"
down_revision = "0001"

REQUIRED = ["created_at", "assignment_id", "student_id", "course_id", "responses"]
SHAPE = {"$jsonSchema": {"required": REQUIRED, "properties": {"responses": {"bsonType": "array"}}}}
LEVELS = {"rub-excellent": ("Excellent", 3), "rub-good": ("Good", 2), "rub-developing": ("Developing", 1)}
START = datetime(2024, 9, 1, tzinfo=timezone.utc)


def upgrade():
    yield ops.create_collection(Submissions)
    yield ops.create_index(Submissions, ["assignment_id", "student_id"])
    yield ops.create_index(Submissions, "course_id")
    yield ops.set_validator(Submissions, SHAPE)
    yield ops.create_collection(Rubrics)
    yield ops.insert_documents(Rubrics, [rubric(key, *level) for key, level in LEVELS.items()])


def downgrade():
    yield ops.drop_collection(Rubrics)  # parked, with those that teachers wrote since
    yield ops.restore(Submissions)  # the indexes and the validator go; what was there before them stays


def verify():
    yield ops.expect_count(Rubrics, len(LEVELS), where={"points": {"$gte": 1}})
    yield ops.expect_none(Submissions, where={"$or": [{name: {"$exists": False}} for name in REQUIRED]})


def rubric(key, title, points):
    return {"_id": key, "created_at": START, "title": title, "points": points}
