"""A folder of revisions becomes a chain, and every fault names its file, its revision and the fix."""

from pathlib import Path

import pytest
from revisions import BODY, HEADER, write, write_chain

from lockstep.domain.chain import Chain, load_chain
from lockstep.domain.errors import Refused, RevisionFault


def only_fault(chain: Chain) -> RevisionFault:
    assert len(chain.faults) == 1, chain.faults
    return chain.faults[0]


def ids(chain: Chain) -> list[str]:
    return [revision.id for revision in chain.revisions]


def test_a_sound_folder_is_ordered_from_root_to_head(tmp_path: Path) -> None:
    write(tmp_path, "c", "b", name="a_last.py")
    write(tmp_path, "b", "a", name="z_middle.py")
    write(tmp_path, "a", None, name="m_first.py")
    chain = load_chain(tmp_path)
    assert ids(chain) == ["a", "b", "c"]
    assert chain.faults == ()
    assert chain.head == "c"
    assert [chain.index(target) for target in ("base", "a", "c", "head")] == [0, 1, 3, 3]


def test_files_that_start_with_an_underscore_are_no_revisions(tmp_path: Path) -> None:
    write_chain(tmp_path, 2)
    (tmp_path / "_helpers.py").write_text("this is not even python")
    assert ids(load_chain(tmp_path)) == ["0001", "0002"]


def test_a_missing_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nowhere"):
        load_chain(tmp_path / "nowhere")


def test_an_unknown_target_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    write_chain(tmp_path, 2)
    with pytest.raises(Refused, match=r"'0007'.*0001, 0002"):
        load_chain(tmp_path).index("0007")


FAULTS = {
    "a syntax error": ("def upgrade(:\n", "not Python", "mend line"),
    "a typo in a resource of the project": (
        "from resources import Submisions\n" + BODY,
        "Submisions",
        "'Submissions', which resources.py declares",
    ),
    "a typo in an operation": (
        BODY.replace('ops.sql(Db, "SELECT 1"', 'ops.sqll(Db, "SELECT 1"'),
        "sqll",
        "write 'sql'",
    ),
    "a name that is nowhere": (BODY.replace('(Db, "SELECT 1"', '(Dbx, "SELECT 1"'), "Dbx", "resources.py"),
    "an operation on the wrong kind": (
        BODY.replace('ops.sql(Db, "SELECT 1", touches=[Users])', "ops.transform_documents(Users, dict)"),
        "transform_documents works on a Collection",
        "Use ops.transform_rows",
    ),
    "a mode that the store cannot honour": (
        'transaction = "atomic"\n'
        + BODY.replace('ops.sql(Db, "SELECT 1", touches=[Users])', "ops.transform_documents(Notes, dict)"),
        "one PostgreSQL transaction",
        "'batched'",
    ),
    "atomic over two databases": (
        'transaction = "atomic"\n'
        + BODY.replace("touches=[Users])\n\n", 'touches=[Users])\n    yield ops.sql(Api, "SELECT 3")\n\n', 1),
        "2 databases",
        "split the revision",
    ),
    "an unknown mode": ('transaction = "sometimes"\n' + BODY, "'sometimes'", "atomic"),
    "no upgrade": ("def downgrade():\n    yield\n", "no upgrade()", "define upgrade()"),
    "no downgrade": (BODY.split("def downgrade")[0], "no downgrade()", "define downgrade()"),
    "an empty upgrade": (
        BODY.replace('yield ops.sql(Db, "SELECT 1", touches=[Users])', "return []"),
        "declares nothing",
        "yield at least one",
    ),
    "an upgrade that yields nonsense": (
        BODY.replace('yield ops.sql(Db, "SELECT 1", touches=[Users])', "yield 42"),
        "yields 42",
        "yield ops",
    ),
    "an expectation in upgrade": (
        BODY.replace('yield ops.sql(Db, "SELECT 1", touches=[Users])', "yield ops.expect_count(Users, 1)"),
        "expectation",
        "verify()",
    ),
    "an operation in verify": (
        BODY + "\ndef verify():\n    yield ops.drop_table(Users)\n",
        "no expectation",
        "ops.",
    ),
    "a restore that nothing feeds": (
        BODY.replace('ops.sql(Db, "SELECT 2", touches=[Users])', "ops.restore(Users)"),
        "journals or parks",
        "Name a resource",
    ),
    "a module that raises": ("1 / 0\n" + BODY, "ZeroDivisionError", "must load without any server"),
    "an upgrade that raises": (
        BODY.replace('yield ops.sql(Db, "SELECT 1", touches=[Users])', "yield {}['x']"),
        "KeyError",
        "mend that line",
    ),
    "SQL that needs no transaction": (
        BODY.replace("SELECT 1", "CREATE INDEX CONCURRENTLY i ON users (name)"),
        "cannot",
        "sql_outside_transaction",
    ),
    "a missing module": ("import pandass_not_there\n" + BODY, "pandass_not_there", "import it from"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_file_revision_and_fix_and_leaves_the_others_standing(
    tmp_path: Path, name: str
) -> None:
    body, problem, fix = FAULTS[name]
    write_chain(tmp_path, 2)
    write(tmp_path, "0003", "0002", body, name="0003_faulty.py")
    chain = load_chain(tmp_path)
    assert ids(chain) == ["0001", "0002"]
    fault = only_fault(chain)
    assert fault.file == f"{tmp_path.name}/0003_faulty.py"
    assert fault.revision == "0003"
    assert problem in fault.problem, str(fault)
    assert fix in fault.fix, str(fault)
    assert all(part in str(fault) for part in (fault.file, "0003", fault.problem, fault.fix))


def test_a_revision_that_cannot_name_itself_is_told_by_its_file(tmp_path: Path) -> None:
    write_chain(tmp_path, 1)
    (tmp_path / "0002_nameless.py").write_text("def upgrade(): pass\n")
    fault = only_fault(load_chain(tmp_path))
    assert fault.revision is None
    assert "no revision id" in fault.problem


@pytest.mark.parametrize("line", ["revision = 3", "revision = ''", "revision = 'a b'"])
def test_a_revision_id_is_a_short_plain_string(tmp_path: Path, line: str) -> None:
    (tmp_path / "0001_odd.py").write_text(f"from lockstep import ops\n{line}\ndown_revision = None\n{BODY}")
    assert "revision is" in only_fault(load_chain(tmp_path)).problem


def test_a_file_that_is_not_utf8_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "0001_latin.py").write_bytes(
        HEADER.format(doc="x", revision="0001", down=None).encode() + b"# \xe9"
    )
    assert "not UTF-8" in only_fault(load_chain(tmp_path)).problem


def test_a_duplicate_id_takes_both_files_and_their_descendants_out(tmp_path: Path) -> None:
    write_chain(tmp_path, 4)
    write(tmp_path, "0003", "0002", name="0003_again.py")
    chain = load_chain(tmp_path)
    assert ids(chain) == ["0001", "0002"]
    told = {fault.file.split("/")[1]: fault.problem for fault in chain.faults}
    assert set(told) == {"0003_again.py", "0003_step.py", "0004_step.py"}
    assert "duplicate" in told["0003_again.py"]
    assert "0003_step.py" in told["0003_again.py"]


def test_a_second_head_is_a_fault_and_the_longer_branch_stands(tmp_path: Path) -> None:
    write_chain(tmp_path, 5)
    write(tmp_path, "0003b", "0002")
    chain = load_chain(tmp_path)
    assert ids(chain) == ["0001", "0002", "0003", "0004", "0005"]
    fault = only_fault(chain)
    assert fault.revision == "0003b"
    assert "second head" in fault.problem
    assert "down_revision = '0005'" in fault.fix
    with pytest.raises(Refused, match="head is uncertain"):
        _ = chain.head


def test_of_two_heads_equally_long_the_first_by_name_stands(tmp_path: Path) -> None:
    write_chain(tmp_path, 3)
    write(tmp_path, "0003b", "0002", name="0004_rival.py")
    chain = load_chain(tmp_path)
    assert ids(chain) == ["0001", "0002", "0003"]
    assert only_fault(chain).revision == "0003b"


def test_a_second_root_is_a_fault(tmp_path: Path) -> None:
    write_chain(tmp_path, 3)
    write(tmp_path, "0009", None)
    chain = load_chain(tmp_path)
    assert ids(chain) == ["0001", "0002", "0003"]
    assert "second root" in only_fault(chain).problem


def test_a_missing_parent_is_a_fault_with_a_close_name(tmp_path: Path) -> None:
    write_chain(tmp_path, 2)
    write(tmp_path, "0003", "002")
    fault = only_fault(load_chain(tmp_path))
    assert "'002' is missing" in fault.problem
    assert "'0002'" in fault.fix


def test_a_cycle_is_told_with_its_members(tmp_path: Path) -> None:
    write_chain(tmp_path, 1)
    write(tmp_path, "0002", "0003")
    write(tmp_path, "0003", "0002")
    chain = load_chain(tmp_path)
    assert ids(chain) == ["0001"]
    assert len(chain.faults) == 2
    assert all("cycle" in fault.problem for fault in chain.faults)


def test_descendants_of_a_broken_file_are_named_with_it(tmp_path: Path) -> None:
    write_chain(tmp_path, 4)
    (tmp_path / "0002_step.py").write_text('revision = "0002"\ndown_revision = "0001"\ndef upgrade(:\n')
    chain = load_chain(tmp_path)
    assert ids(chain) == ["0001"]
    told = {fault.revision: fault.problem for fault in chain.faults}
    assert set(told) == {"0002", "0003", "0004"}
    assert "0002_step.py" in told["0003"]
    assert "'0003'" in told["0004"]


def test_the_checksum_is_of_the_bytes_that_ran(tmp_path: Path) -> None:
    path = write_chain(tmp_path, 1)[0]
    before = load_chain(tmp_path)["0001"].checksum
    path.write_text(path.read_text() + "\n")
    after = load_chain(tmp_path)["0001"].checksum
    assert before != after
    assert len(before) == 64
