"""Fail in the seventh batch of submissions, when rows and objects are changed already.

This one is made to fail: copy it beside the revisions of `migrations/`, run `migrate`, and watch. By then
every user has been renamed and every upload has been marked as reviewed, and six batches of 1,000
submissions are written. Then word_count() raises at the 6,500th. The run undoes the six batches, the
metadata and the names, compares all three stores with what they were, and ends red: `rolled_back`.
It takes 7,000 submissions or more, in batches of 1,000, as `make demo-failure` has them.
"""

from dataclasses import replace
from itertools import count

from lockstep import ops
from resources import Submissions, Uploads, Users

revision = "0012"
down_revision = "0011"

FAILS_AT = 6_500
_seen = count(1)


def upgrade():
    yield ops.transform_rows(Users, surname_first, columns=["name"])
    yield ops.update_metadata(Uploads, mark_reviewed)
    yield ops.transform_documents(Submissions, word_count)


def downgrade():
    yield ops.restore(Submissions)
    yield ops.restore(Uploads)
    yield ops.restore(Users)


def surname_first(user):
    first, _, last = user["name"].partition(" ")
    return {**user, "name": f"{last}, {first}"}


def mark_reviewed(upload):
    return replace(upload, metadata={**upload.metadata, "reviewed": "yes"})


def word_count(submission):
    """Count the words of the responses, up to the record that cannot be counted."""
    if next(_seen) >= FAILS_AT:
        raise ValueError(
            f"submission {submission['_id']!r} cannot be counted, which is what this example is for"
        )
    words = sum(len(response["response_text"].split()) for response in submission.get("responses", ()))
    return {**submission, "words": words}
