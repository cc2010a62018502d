"""Add up what each object holds by a Python function."""

import json
from dataclasses import replace

from lockstep import ops
from resources import Uploads

revision = "0001"
down_revision = None


def upgrade():
    yield ops.transform_objects(Uploads, add_up)


def downgrade():
    yield ops.restore(Uploads)


def add_up(upload):
    content = json.loads(upload.body)
    content["total"] = sum(item["points"] for item in content["items"])
    return replace(upload, body=json.dumps(content).encode())
