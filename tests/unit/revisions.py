"""Write revision files for tests."""

from __future__ import annotations

from pathlib import Path

HEADER = '''"""{doc}"""
from lockstep import ops
from lockstep.resources import Bucket, Collection, Mongo, Postgres, Prefix, Table

Db = Postgres("campus_auth")
Api = Postgres("campus_api")
Docs = Mongo("campus_documents")
Files = Bucket("campus_objects")
Users = Table(Db, "users")
Traces = Table(Api, "traces")
Notes = Collection(Docs, "notes")
Uploads = Prefix(Files, "uploads/")
revision = {revision!r}
down_revision = {down!r}
'''

BODY = """
def upgrade():
    yield ops.sql(Db, "SELECT 1", touches=[Users])

def downgrade():
    yield ops.sql(Db, "SELECT 2", touches=[Users])
"""


def write(
    folder: Path, revision: str, down: str | None, body: str = BODY, *, name: str = "", doc: str = "A step."
) -> Path:
    """Write a revision's file and return its path."""
    path = folder / (name or f"{revision}_step.py")
    path.write_text(HEADER.format(doc=doc, revision=revision, down=down) + body)
    return path


def write_chain(folder: Path, length: int) -> list[Path]:
    """Write a sound chain of so many revisions."""
    return [
        write(folder, f"{number:04}", f"{number - 1:04}" if number > 1 else None)
        for number in range(1, length + 1)
    ]
