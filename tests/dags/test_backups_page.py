"""The page of backups: who sees it, and what it says of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from lockstep.domain.status import RunStatus

AT = datetime(2026, 1, 2, tzinfo=timezone.utc)


def pages(stored: list[Any], removed: list[Any] | None = None) -> Any:
    from fastapi import Header, HTTPException
    from test_pages import Client

    from lockstep.web.app import create_app
    from lockstep.web.asking import Asker
    from lockstep.web.read import Reader

    def who(user: str = Header(default="")) -> Asker:
        if not user:
            raise HTTPException(401, "not logged in")
        return Asker(
            name=user,
            may_read=lambda dag_id: (user, dag_id) == ("ann", "restore"),
            may_start=lambda dag_id: False,
        )

    ledger: Any = SimpleNamespace(
        stored_backups=lambda *, removed=False, limit=0: [*stored, *(gone if removed else [])]
    )
    gone = removed or []
    reader = Reader(ledger=lambda: ledger, uri=lambda path: f"s3://vault/{path}")
    return Client(create_app(reader, who), "/airflow/lockstep")


def stored_backup(run_id: str, **changes: Any) -> Any:
    from lockstep.domain.backups import Proof, StoredBackup
    from lockstep.domain.progress import BackupFile, Fingerprint, Manifest

    manifest = Manifest(
        run_id=run_id,
        conn_id="campus_auth",
        kind="table",
        path=f"backups/{run_id}/campus_auth/manifest.json",
        taken_at=AT,
        files=(BackupFile(path="a.dump", size=1_234_567, sha256="f", holds="postgres archive"),),
        fingerprints={
            "<users>": Fingerprint(present=True, count=5000),
            "made": Fingerprint(present=False),
        },
    )
    kept = StoredBackup(
        manifest=manifest,
        revision="0001",
        way="upgrade",
        run_status=RunStatus.FAILED,
        saved_at=AT,
        proof=Proof.RESTORE,
        proven_at=AT,
    )
    return replace(kept, **changes)


def test_the_page_lists_every_backup_with_how_it_is_put_back() -> None:
    known = pages(
        [stored_backup("0001-up-1", problem="a.dump is gone")], [stored_backup("old", removed_at=AT)]
    )

    (one,) = known.get("/backups", user="ann").json()["backups"]

    assert {
        name: one[name] for name in ("run", "revision", "direction", "run_status", "database", "bytes")
    } == {
        "run": "0001-up-1",
        "revision": "0001",
        "direction": "upgrade",
        "run_status": "failed",
        "database": "campus_auth",
        "bytes": 1_234_567,
    }
    assert one["resources"] == {"<users>": 5000}
    assert (one["proof"], one["problem"]) == ("restore", "a.dump is gone")
    assert one["restore"] == {"dag_id": "restore", "conf": {"backup": "0001-up-1"}}
    _, old = known.get("/backups?removed=true", user="ann").json()["backups"]
    assert (old["run"], old["restore"]) == ("old", None)
    text = known.get("/backups", user="ann", accept="text/html").text
    assert "backup = &quot;0001-up-1&quot;" in text
    assert "&lt;users&gt; (5,000)" in text
    assert "<users>" not in text
    assert "/airflow/lockstep/runs/0001-up-1/backup" in text


def test_who_may_not_see_restores_sees_no_backups() -> None:
    known = pages([stored_backup("0001-up-1")])

    assert known.get("/backups").status_code == 401
    assert known.get("/backups", user="bob").status_code == 403
