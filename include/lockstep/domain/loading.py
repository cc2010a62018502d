"""Load one revision file: run its module, call what it declares, check every part.

Nothing here opens a database: upgrade(), downgrade() and verify() only return data.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
import traceback
from pathlib import Path
from types import GeneratorType, ModuleType
from typing import Any

from lockstep.domain.errors import DeclarationError, OperationError, RevisionFault
from lockstep.domain.expectations import EXPECTATIONS
from lockstep.domain.operations.base import Operation
from lockstep.domain.revision import Revision, check_restores, choose_transaction

_STEM = re.compile(r"[A-Za-z0-9_.\-]{1,200}")
_ID = re.compile(r"[A-Za-z0-9_.\-]{1,100}")


def shown_path(path: Path) -> str:
    """Return the path as a person would name it from the project's root."""
    return f"{path.parent.name}/{path.name}"


def declared_ids(source: str) -> tuple[str | None, str | None]:
    """Return `revision` and `down_revision` as the text assigns them, as far as it can be read."""
    found: dict[str, str | None] = {"revision": None, "down_revision": None}
    for name in found:
        match = re.search(rf"^{name}\b[^=\n]*=\s*(['\"])(.*?)\1", source, re.MULTILINE)
        found[name] = match.group(2) if match else None
    return found["revision"], found["down_revision"]


def load_revision(path: Path) -> Revision:
    """Return the revision that the file declares; raise RevisionFault naming the file and the fix."""
    raw = b""
    try:
        raw = path.read_bytes()
        return _Loader(path, raw.decode("utf-8")).load(hashlib.sha256(raw).hexdigest())
    except OSError as problem:
        raise RevisionFault(
            file=shown_path(path),
            revision=None,
            problem=f"it cannot be read: {problem}.",
            fix="make the file readable, or take it away.",
        ) from problem
    except UnicodeDecodeError as problem:
        raise RevisionFault(
            file=shown_path(path),
            revision=declared_ids(raw.decode("latin-1"))[0],
            problem=f"it is not UTF-8 text ({problem.reason} at byte {problem.start}).",
            fix="save it as UTF-8.",
        ) from problem


class _Loader:
    """The steps from a file's text to a revision; each raises a fault that names the file."""

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.source = source
        self.id, _ = declared_ids(source)

    def load(self, checksum: str) -> Revision:
        if not _STEM.fullmatch(self.path.stem):
            raise self.fault(
                f"the file's name {self.path.name!r} cannot name a DAG.",
                "use letters, digits, '_', '-' and '.' only.",
            )
        module = self.run_module()
        self.id = self.read_id(module)
        upgrade = self.declared(module, "upgrade")
        downgrade = self.declared(module, "downgrade")
        expectations = self.expected(module)
        try:
            transaction = choose_transaction(getattr(module, "transaction", None), upgrade, expectations)
            check_restores(upgrade, downgrade)
        except OperationError as problem:
            raise self.told(problem) from problem
        return Revision(
            id=self.id,
            down_revision=self.read_parent(module),
            file=shown_path(self.path),
            stem=self.path.stem,
            source=self.source,
            checksum=checksum,
            doc=(module.__doc__ or "").strip(),
            transaction=transaction,
            upgrade=upgrade,
            downgrade=downgrade,
            expectations=expectations,
        )

    def fault(self, problem: str, fix: str) -> RevisionFault:
        return RevisionFault(file=shown_path(self.path), revision=self.id, problem=problem, fix=fix)

    def told(self, problem: DeclarationError, where: str = "") -> RevisionFault:
        """Split a declaration error's last sentence off as the fix."""
        sentences = re.split(r"(?<=\.)\s+(?=[A-Z])", str(problem))
        if len(sentences) == 1:
            return self.fault(f"{where}{sentences[0]}", "change that line.")
        return self.fault(f"{where}{' '.join(sentences[:-1])}", sentences[-1])

    def line(self, error: BaseException) -> str:
        """Name the last line of this file that the error passed through."""
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(self.path)]
        return f"line {frames[-1].lineno}: " if frames else ""

    def run_module(self) -> ModuleType:
        module = ModuleType(f"lockstep_revision_{re.sub(r'[^A-Za-z0-9_]', '_', self.path.stem)}")
        module.__file__ = str(self.path)
        try:
            code = compile(self.source, str(self.path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as problem:
            line = getattr(problem, "lineno", None)
            raise self.fault(
                f"it is not Python: {getattr(problem, 'msg', problem)}"
                + (f" (line {line})." if line else "."),
                f"mend line {line}." if line else "mend the file.",
            ) from problem
        # Registered so that what the module defines (dataclasses, pickles) can find its own globals.
        sys.modules[module.__name__] = module
        try:
            exec(code, module.__dict__)  # noqa: S102 - a revision is the project's own code
        except Exception as problem:
            del sys.modules[module.__name__]
            raise self.explain(problem, "") from problem
        return module

    def explain(self, problem: Exception, where: str) -> RevisionFault:
        """Return the fault for an error that the file's own code raised."""
        place = self.line(problem) or where
        if isinstance(problem, RevisionFault):
            return problem
        if isinstance(problem, DeclarationError):
            return self.told(problem, place)
        if isinstance(problem, (ImportError, AttributeError, NameError)):
            return self.fault(f"{place}{_sentence(problem)}", _suggest(problem))
        return self.fault(
            f"{place}{type(problem).__name__}: {_sentence(problem)}",
            "mend that line; a revision's file only declares, so it must load without any server.",
        )

    def read_id(self, module: ModuleType) -> str:
        given = getattr(module, "revision", None)
        if not isinstance(given, str) or not _ID.fullmatch(given):
            raise self.fault(
                f"revision is {given!r}." if hasattr(module, "revision") else "it has no revision id.",
                'add a line such as revision = "0003", of letters, digits, "_", "-" and ".".',
            )
        return given

    def read_parent(self, module: ModuleType) -> str | None:
        if not hasattr(module, "down_revision"):
            raise self.fault(
                "it does not say which revision it follows.",
                'add down_revision = "<the revision before>", or None for the first.',
            )
        parent = module.down_revision
        if parent is not None and (not isinstance(parent, str) or not parent):
            raise self.fault(
                f"down_revision is {parent!r}.", "name one revision as a string, or None for the first."
            )
        return parent

    def declared(self, module: ModuleType, name: str) -> tuple[Operation, ...]:
        """Return what upgrade() or downgrade() yields, each checked to be an operation."""
        listed = self.call(module, name)
        for item in listed:
            if isinstance(item, EXPECTATIONS):
                raise self.fault(
                    f"{name}() yields an expectation ({item.describe()}).", "yield it from verify() instead."
                )
            if not isinstance(item, Operation):
                raise self.fault(
                    f"{name}() yields {item!r}, which is no operation.", f"yield ops.… from {name}()."
                )
        if name == "upgrade" and not listed:
            raise self.fault("upgrade() declares nothing.", "yield at least one operation from it.")
        return listed

    def expected(self, module: ModuleType) -> tuple[Any, ...]:
        if not hasattr(module, "verify"):
            return ()
        listed = self.call(module, "verify")
        for item in listed:
            if not isinstance(item, EXPECTATIONS):
                raise self.fault(
                    f"verify() yields {item!r}, which is no expectation.",
                    "yield ops.expect_none, expect_count, expect_same_count or check from it.",
                )
        return listed

    def call(self, module: ModuleType, name: str) -> tuple[Any, ...]:
        function = getattr(module, name, None)
        if not callable(function):
            raise self.fault(
                f"it has no {name}().",
                f"define {name}() and yield its operations from it, such as ops.sql(…).",
            )
        try:
            result = function()
            if result is None:
                return ()
            if isinstance(result, (Operation, EXPECTATIONS)):
                return (result,)
            if isinstance(result, (GeneratorType, list, tuple)):
                return tuple(result)
        except Exception as problem:
            raise self.explain(problem, f"{name}(): ") from problem
        raise self.fault(
            f"{name}() returns {type(result).__name__}.", "yield its operations, one after another."
        )


def _sentence(problem: BaseException) -> str:
    text = str(problem) or type(problem).__name__
    return text if text.endswith(".") else f"{text}."


def _suggest(problem: ImportError | AttributeError | NameError) -> str:
    """Name what the author may have meant."""
    wanted, known, home = _what_was_wanted(problem)
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6) if wanted else []
    if close:
        return f"write {close[0]!r}" + (f", which {home} declares." if home else ".")
    if home:
        return f"declare {wanted!r} in {home}, or import a name that it has: {', '.join(known[:12])}."
    return "import it from resources.py or lockstep.ops, or define it in this file."


def _what_was_wanted(problem: ImportError | AttributeError | NameError) -> tuple[str, list[str], str]:
    if isinstance(problem, ModuleNotFoundError):
        return "", [], ""
    if isinstance(problem, ImportError):
        match = re.search(r"cannot import name '([^']+)'", str(problem))
        module = sys.modules.get(problem.name or "")
        known = _public(module) if module else []
        return (match.group(1) if match else ""), known, f"{problem.name}.py" if problem.name else ""
    if isinstance(problem, AttributeError) and isinstance(problem.obj, ModuleType):
        home = problem.obj.__name__
        return problem.name or "", _public(problem.obj), home
    if isinstance(problem, NameError):
        module = sys.modules.get("resources")
        return problem.name or "", _public(module) if module else [], "resources.py" if module else ""
    return "", [], ""


def _public(module: ModuleType) -> list[str]:
    listed = getattr(module, "__all__", None)
    return sorted(listed if listed is not None else (n for n in vars(module) if not n.startswith("_")))
