"""Publish a profile of every user: one revision over rows, documents and objects."""

import json

from lockstep import ops
from resources import Auth, Profiles, Submissions, Users

revision = "0010"
down_revision = "0009"
lint_ignore = {"data-dropped": "a profile's key follows from the user's id"}

KEY = "'profiles/' || id || '.json'"
SUBMITTED = {"submitted_at": {"$exists": True}}


def upgrade():
    yield ops.sql(Auth, "ALTER TABLE users ADD COLUMN profile_key text", touches=Users)
    # With an exact reverse the journal need not keep what each row held before.
    yield ops.update_rows(Users, {"profile_key": KEY}, reverse={"profile_key": "NULL"})
    yield ops.update_documents(Submissions, {"$set": {"shown_on": "profile"}}, where=SUBMITTED)
    yield ops.copy(Users, Profiles, map=profile)
    yield ops.drop_column(Users, "activated_at")  # nobody asks for it any more; parked, with its data


def downgrade():
    yield ops.restore(Users)
    yield ops.drop_objects(Profiles)
    yield ops.update_documents(Submissions, {"$unset": {"shown_on": ""}}, where={"shown_on": "profile"})
    yield ops.sql(Auth, "ALTER TABLE users DROP COLUMN profile_key", touches=Users)


def verify():
    yield ops.expect_same_count(Users, Profiles)
    yield ops.expect_none(Users, where="profile_key IS NULL")
    yield ops.expect_none(Submissions, where={**SUBMITTED, "shown_on": {"$exists": False}})


def profile(user):
    """Return what everyone may read of a user: no address in it."""
    shown = {"id": user["id"], "name": user["display_name"], "since": user["created_at"].date().isoformat()}
    body = json.dumps(shown, indent=1).encode()
    return ops.StoredObject(key=user["profile_key"], body=body, content_type="application/json")
