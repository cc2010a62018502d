"""Stamp every response with the time its submission was created."""

from lockstep import ops
from resources import Submissions

revision = "0003"
down_revision = "0002"

UNSTAMPED = {"responses": {"$elemMatch": {"created_at": {"$exists": False}}}}


def upgrade():
    yield ops.transform_documents(Submissions, stamp)


def downgrade():
    yield ops.transform_documents(Submissions, unstamp)


def verify():
    yield ops.expect_none(Submissions, where=UNSTAMPED)


def stamp(submission):
    """Give each response its submission's created_at, unless it has one of its own."""
    made = submission["created_at"]
    return change(submission, lambda response: {**response, "created_at": response.get("created_at", made)})


def unstamp(submission):
    """Strip created_at from each response."""
    return change(submission, lambda response: {k: v for k, v in response.items() if k != "created_at"})


def change(submission, function):
    if "responses" not in submission:
        return submission
    return {**submission, "responses": [function(response) for response in submission["responses"]]}
