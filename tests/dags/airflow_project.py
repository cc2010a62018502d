"""A project for tests: the real DAG files, resources, and three revisions."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

RESOURCES = """
from lockstep.resources import Bucket, Collection, Mongo, Postgres, Prefix, Table

Auth = Postgres("campus_auth")
Documents = Mongo("campus_documents")
Objects = Bucket("campus_objects")
Users = Table(Auth, "users")
Submissions = Collection(Documents, "submissions")
Uploads = Prefix(Objects, "uploads/")
"""

REVISIONS = {
    "0001_accounts": '''
        """Create accounts."""
        from lockstep import ops
        from resources import Auth, Users

        revision = "0001"
        down_revision = None

        def upgrade():
            yield ops.sql(Auth, "CREATE TABLE users (id text PRIMARY KEY)", touches=Users)

        def downgrade():
            yield ops.drop_table(Users)
    ''',
    "0002_three_stores": '''
        """Touch all three stores.

        In three steps, of which the first is not batched.
        """
        from lockstep import ops
        from resources import Auth, Submissions, Uploads, Users

        revision = "0002"
        down_revision = "0001"

        def upgrade():
            yield ops.sql_outside_transaction(
                Auth, "CREATE INDEX CONCURRENTLY users_email ON users (email)", touches=Users
            )
            yield ops.transform_documents(Submissions, stamp)
            yield ops.transform_objects(Uploads, retag)

        def downgrade():
            yield ops.restore(Uploads)
            yield ops.restore(Submissions)

        def verify():
            yield ops.expect_none(Submissions, where={"stamped": {"$exists": False}})

        def stamp(document):
            return {**document, "stamped": True}

        def retag(stored):
            return stored
    ''',
    "0003_rows": '''
        """Transform rows | with a pipe in the description."""
        from lockstep import ops
        from resources import Users

        revision = "0003"
        down_revision = "0002"

        def upgrade():
            yield ops.transform_rows(Users, shout, columns=["email"])

        def downgrade():
            yield ops.restore(Users)

        def shout(row):
            return {**row, "email": row["email"].upper()}
    ''',
}


def write_revisions(folder: Path, revisions: dict[str, str]) -> None:
    """Write revision files, taking the indentation of this file off."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, source in revisions.items():
        (folder / f"{stem}.py").write_text(textwrap.dedent(source).lstrip())


def write_project(root: Path) -> Path:
    """Write a project of its own: the real DAG files, resources, and three revisions."""
    shutil.copytree(ROOT / "dags", root / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "include").mkdir()
    (root / "include" / "resources.py").write_text(RESOURCES)
    write_revisions(root / "migrations", REVISIONS)
    return root
