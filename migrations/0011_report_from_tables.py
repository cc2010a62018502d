"""Bring what reports are made of into tables: rubrics, quiz exports, totals of submissions."""

import json

from lockstep import ops
from resources import Api, QuizExports, Quizzes, RubricRows, Rubrics, Submissions, SubmissionTotals

revision = "0011"
down_revision = "0010"
lint_ignore = {"data-dropped": "both tables are made from what stays"}

COUNT = {"$group": {"_id": "$course_id", "count": {"$sum": 1}}}
REPLACE = """INSERT INTO submission_totals VALUES (%s, %s)
    ON CONFLICT (course_id) DO UPDATE SET submissions = excluded.submissions"""


def upgrade():
    yield ops.sql(
        Api,
        "CREATE TABLE rubrics (id text PRIMARY KEY, created_at timestamptz, title text, points bigint)",
        "CREATE TABLE quiz_exports (id text PRIMARY KEY, owner_id text, assignment_id text, answers bigint)",
        "CREATE TABLE submission_totals (course_id text PRIMARY KEY, submissions bigint)",
        touches=[RubricRows, QuizExports, SubmissionTotals],
    )
    yield ops.copy(Rubrics, RubricRows)
    yield ops.copy(Quizzes, QuizExports, map=summary, where=".json")
    yield ops.run_python(count_submissions, touches=SubmissionTotals, reverse=forget_totals)
    yield ops.drop_collection(Rubrics)
    yield ops.drop_index(Submissions, "course_id")  # the totals are asked instead


def downgrade():
    yield ops.create_index(Submissions, "course_id")
    yield ops.restore(Rubrics)
    yield ops.copy(RubricRows, Rubrics)  # those that were written since
    yield ops.drop_table(RubricRows)
    yield ops.sql(Api, "DROP TABLE quiz_exports, submission_totals", touches=[QuizExports, SubmissionTotals])


def verify():
    yield ops.expect_same_count(Quizzes, QuizExports)


def summary(export):
    """Return the row of one export."""
    quiz = json.loads(export.body)
    return {
        "id": export.key.rpartition("/")[2].removesuffix(".json"),
        "owner_id": export.metadata.get("owner-id"),
        "assignment_id": quiz["assignment_id"],
        "answers": len(quiz["answers"]),
    }


def count_submissions(hands):
    """Count in one store, keep in another: no other operation covers that. Run twice, it does the same."""
    groups = hands.open(Submissions).aggregate([COUNT])
    totals = [(group["_id"], group["count"]) for group in groups]
    hands.open(SubmissionTotals).cursor().executemany(REPLACE, totals)


def forget_totals(hands):
    hands.open(SubmissionTotals).execute("DELETE FROM submission_totals")
