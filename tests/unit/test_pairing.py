"""Which statements of downgrade() take back which of upgrade()."""

from pathlib import Path

import pytest
from revisions import write

from lockstep.domain.chain import load_chain
from lockstep.domain.pairing import statements_back

ONE_MORE = "yield ops.transform_documents(Notes, dict)  # makes it batched"


def back(folder: Path, up: list[str], down: list[str]) -> list[list[str] | None]:
    """Return, for each sql of upgrade(), the texts that take it back."""
    body = "def upgrade():\n" + "".join(f'    yield ops.sql(Db, "{text}")\n' for text in up)
    body += f"    {ONE_MORE}\n\ndef downgrade():\n    yield ops.restore(Notes)\n"
    body += "".join(f'    yield ops.sql(Db, "{text}")\n' for text in down)
    write(folder, "0001", None, body)
    revision = load_chain(folder)["0001"]
    found = [statements_back(revision, step, range(1, len(up) + 1)) for step in range(1, len(up) + 1)]
    return [None if ops is None else [op.statements[0] for op in ops] for ops in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("up", "down", "expected"),
    [
        (["a"], ["-a"], [["-a"]]),
        (["a", "b"], ["-b", "-a"], [["-a"], ["-b"]]),
        (["a", "b"], ["-a"], [[], ["-a"]]),
        (["a", "b", "c"], ["-b", "-a"], [["-a"], [], ["-b"]]),
        (["a and b"], ["-b", "-a"], [["-b", "-a"]]),
        (["a", "b and c"], ["-c", "-b", "-a"], [["-a"], ["-c", "-b"]]),
        (["a"], [], [None]),
    ],
)
def test_downgrade_mirrors_upgrade(
    tmp_path: Path, up: list[str], down: list[str], expected: list[list[str] | None]
) -> None:
    assert back(tmp_path, up, down) == expected
