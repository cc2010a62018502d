"""The example application's revisions load, say what they are, and show every verb."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from shutil import copy

import pytest

import resources
from lockstep import ops
from lockstep.domain.chain import Chain, load_chain
from lockstep.domain.expectations import EXPECTATIONS
from lockstep.domain.operations.base import Operation
from lockstep.domain.pairing import statements_back
from lockstep.domain.resources import KINDS, Table
from lockstep.domain.revision import Revision

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "migrations"
DOCS = ROOT / "docs"
FAILURE = ROOT / "examples" / "failure" / "0012_fail_in_the_seventh_batch.py"

#: What ops exports besides operations and expectations.
VALUES = {"NO_REVERSE", "ObjectInfo", "StoredObject"}
#: Campus is never down, so nothing of it is written anew.
WITH_DOWNTIME = {"rewrite_table"}
CHECKED = {"check", "expect_count", "expect_none", "expect_same_count"}
MODES = {
    "0001": "atomic",
    "0002": "batched",
    "0003": "batched",
    "0004": "batched",
    "0005": "atomic",
    "0006": "atomic",
    "0007": "batched",
    "0008": "batched",
    "0009": "batched",
    "0010": "batched",
    "0011": "batched",
}


@pytest.fixture(scope="module")
def chain() -> Chain:
    return load_chain(MIGRATIONS)


def operations(chain: Chain) -> list[Operation]:
    return [operation for revision in chain.revisions for operation in revision.upgrade + revision.downgrade]


def named(function: Callable[..., object]) -> bool:
    """Tell whether a function can be found by its name: top level, and no lambda."""
    return function.__qualname__.isidentifier()


def test_the_chain_has_no_fault(chain: Chain) -> None:
    assert chain.faults == ()


def test_every_file_is_in_the_chain_and_starts_with_its_revision(chain: Chain) -> None:
    assert [revision.stem for revision in chain.revisions] == sorted(f.stem for f in MIGRATIONS.glob("*.py"))
    assert all(revision.stem.startswith(f"{revision.id}_") for revision in chain.revisions)


def test_every_verb_is_used(chain: Chain) -> None:
    assert {operation.verb for operation in operations(chain)} == set(
        ops.__all__
    ) - VALUES - CHECKED - WITH_DOWNTIME


def test_every_kind_of_expectation_is_used(chain: Chain) -> None:
    used = {type(expectation) for revision in chain.revisions for expectation in revision.expectations}
    assert used == set(EXPECTATIONS)


def test_copies_go_between_unlike_kinds(chain: Chain) -> None:
    copies = [operation for operation in operations(chain) if operation.verb == "copy"]
    kinds = {(KINDS[type(one.reads[0])], KINDS[type(one.writes[0])]) for one in copies}
    assert kinds == {
        ("Table", "Collection"),
        ("Collection", "Table"),
        ("Table", "Prefix"),
        ("Prefix", "Table"),
    }


def test_transaction_modes_are_as_the_docstrings_say(chain: Chain) -> None:
    assert {revision.id: revision.transaction for revision in chain.revisions} == MODES


def test_one_revision_touches_all_three_stores(chain: Chain) -> None:
    assert chain["0010"].storage_type == "document, object, table"


def test_every_revision_verifies_something(chain: Chain) -> None:
    assert [revision.id for revision in chain.revisions if not revision.expectations] == []


def test_every_revision_has_a_downgrade(chain: Chain) -> None:
    assert [revision.id for revision in chain.revisions if not revision.downgrade] == []


def test_every_statement_says_which_tables_it_touches(chain: Chain) -> None:
    opaque = [one for one in operations(chain) if one.verb in ("sql", "sql_outside_transaction")]
    assert all(isinstance(touched, Table) for one in opaque for touched in one.writes)


def test_every_opaque_statement_has_a_way_back(chain: Chain) -> None:
    for revision in chain.revisions:
        for step, operation in enumerate(revision.upgrade, 1):
            if operation.verb in ("sql", "sql_outside_transaction"):
                assert statements_back(revision, step, range(1, step + 1)) is not None, (
                    f"{revision.id} step {step}"
                )


def test_every_resource_is_used_or_lives_beside_one_that_is(chain: Chain) -> None:
    declared = {value for value in vars(resources).values() if type(value) in KINDS}
    used = {touched for revision in chain.revisions for touched in revision.touched}
    used |= {resource for operation in operations(chain) for resource in operation.reads}
    assert declared - used == {resources.Uploads}  # the failure example's


def test_resources_have_names_of_their_own() -> None:
    declared = [value for value in vars(resources).values() if type(value) in KINDS]
    assert len(declared) == len(set(declared))


def test_revisions_are_short_enough_to_be_read_as_documentation(chain: Chain) -> None:
    assert max(len(revision.source.splitlines()) for revision in chain.revisions) < 65


def test_functions_are_named_at_top_level(chain: Chain) -> None:
    for operation in operations(chain):
        for given in vars(operation).values():
            if callable(given) and not isinstance(given, type):
                assert named(given), f"{operation.title}: {given}"


def test_the_failure_example_follows_the_head(chain: Chain, tmp_path: Path) -> None:
    for file in (*MIGRATIONS.glob("*.py"), FAILURE):
        copy(file, tmp_path)
    longer = load_chain(tmp_path)
    assert longer.faults == ()
    last: Revision = longer.revisions[-1]
    assert (last.down_revision, last.stem) == (chain.head, FAILURE.stem)
    assert last.storage_type == "document, object, table"
    assert last.upgrade[-1].verb == "transform_documents"


def signature(name: str) -> str:
    """Return how an operation is called, as the reference heads it."""
    parameters = inspect.signature(getattr(ops, name)).parameters.values()
    shown = inspect.Signature([one.replace(annotation=inspect.Parameter.empty) for one in parameters])
    return f"### `ops.{name}{shown}`"


def test_the_reference_has_every_verb_with_its_signature() -> None:
    headings = re.findall(r"^### .*$", (DOCS / "operations.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(signature(name) for name in set(ops.__all__) - VALUES)


def test_the_references_table_says_what_the_operations_say_of_themselves(chain: Chain) -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", (DOCS / "operations.md").read_text("utf-8"), re.MULTILINE)
    table = {verb: [cell.strip() for cell in cells.split("|")] for verb, cells in rows}
    for operation in operations(chain):
        _, batched, back, _, fits = table[operation.verb]
        assert batched == ("yes" if operation.batched else "no"), operation.verb
        assert (fits != "no") >= operation.fits_in_transaction, operation.verb
        assert {"JOURNAL": "journal", "PARKED": "parked"}.get(operation.way_back.name, "") in back, (
            operation.verb
        )


def test_the_revision_that_the_guide_writes_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (DOCS / "writing-a-revision.md").read_text("utf-8")
    declared, source = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)[:2]
    monkeypatch.setattr(resources, "Essays", None, raising=False)
    exec(declared, vars(resources))
    for file in MIGRATIONS.glob("*.py"):
        copy(file, tmp_path)
    (tmp_path / "0012_count_words.py").write_text(source, "utf-8")
    longer = load_chain(tmp_path)
    assert longer.faults == ()
    assert longer.head == "0012"
