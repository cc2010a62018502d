"""Move avatars to keys of their own, tag them, and store quiz exports without their padding."""

import json
from dataclasses import replace

from lockstep import ops
from resources import Avatars, Quizzes, UploadedAvatars

revision = "0009"
down_revision = "0008"


def upgrade():
    yield ops.move_objects(UploadedAvatars, Avatars, rename=spread)
    yield ops.update_metadata(Avatars, tag)
    yield ops.transform_objects(Quizzes, compact, suffix=".json")


def downgrade():
    yield ops.restore(Quizzes)  # the padding is in the journal only
    yield ops.update_metadata(Avatars, untag)
    yield ops.move_objects(Avatars, UploadedAvatars, rename=gather)


def verify():
    yield ops.expect_count(UploadedAvatars, 0)


def spread(key):
    """Return 'x7/x7f.jpg' for 'x7f.jpg', so that no folder holds them all."""
    return f"{key[:2]}/{key}"


def gather(key):
    """Return 'x7f.jpg' for 'x7/x7f.jpg'."""
    return key.partition("/")[2] or key


def tag(avatar):
    return replace(avatar, tags={**avatar.tags, "kind": "avatar", "public": "yes"})


def untag(avatar):
    return replace(avatar, tags={k: v for k, v in avatar.tags.items() if k not in ("kind", "public")})


def compact(export):
    body = json.dumps(json.loads(export.body), separators=(",", ":")).encode()
    return replace(export, body=body, metadata={**export.metadata, "schema": "3"})
