"""`lockstep audit`: whether the history still is what was written, and what it says."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.cli.commands import Commands
from lockstep.domain.errors import LockstepError, Refused

if TYPE_CHECKING:
    from lockstep.domain.history import Entry
    from lockstep.engine.auditing.verifying import Audit
    from lockstep.engine.ports import Vault

#: it holds; a link is broken; it could not be looked at
HOLDS, BROKEN, UNSEEN = 0, 1, 2

_WHERE = """\
ledger and vault are found by environment variables alone; Airflow and its database may be gone:
  LOCKSTEP_LEDGER_URI, a libpq URI, or AIRFLOW_CONN_LOCKSTEP_LEDGER
  LOCKSTEP_VAULT_BUCKET with LOCKSTEP_VAULT_ENDPOINT and AWS_…, or AIRFLOW_CONN_LOCKSTEP_VAULT
"""
_VERIFY = f"""\
Check the chain of the history in the ledger, its archive in the vault, and one against the other.

exit status:
  {HOLDS}  every entry follows the one before it, and both say the same
  {BROKEN}  a link is broken: what was printed names the first one
  {UNSEEN}  ledger or vault could not be read

{_WHERE}"""
_SHOW = f"Tell who did what, and when, oldest first.\n\n{_WHERE}"


def add_audit(commands: Commands) -> None:
    audit = commands.add_parser("audit", help="check the history, and tell who did what and when")
    kinds = audit.add_subparsers(required=True, metavar="command")
    _add_verify(kinds)
    _add_show(kinds)
    grants = kinds.add_parser(
        "grants", help="print the rights of a role that writes the history and cannot change it"
    )
    grants.add_argument(
        "--role", required=True, help="the role that Airflow's connection to the ledger logs in as"
    )
    grants.set_defaults(run=_grants)
    schema = kinds.add_parser(
        "schema", help="bring the ledger's own schema up to date, as the role that owns it"
    )
    schema.add_argument("--environment", help="whose ledger, of include/environments.py")
    schema.set_defaults(run=_answering(_schema))


def _add_verify(kinds: Commands) -> None:
    verify = kinds.add_parser(
        "verify",
        help="check the history's chain, its archive, and one against the other",
        description=_VERIFY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_places(verify)
    verify.add_argument("--ledger", action="store_true", help="look at the ledger alone")
    verify.add_argument("--json", action="store_true", help="print the answer as JSON")
    verify.set_defaults(run=_answering(_verify))


def _add_show(kinds: Commands) -> None:
    show = kinds.add_parser(
        "show",
        help="tell who did what, and when",
        description=_SHOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_places(show)
    show.add_argument("--revision", help="of this revision")
    show.add_argument("--run", dest="run_id", metavar="RUN", help="of this run")
    show.add_argument("--who", help="done by this user, service, or scheduler")
    show.add_argument(
        "--kind", help="of this kind, such as task_failed, or leading to this status, such as applied"
    )
    show.add_argument("--since", type=_when, help="from this day or moment on (ISO 8601; UTC unless it says)")
    show.add_argument("--until", type=_until, help="up to the end of this day, or before this moment")
    show.add_argument("--last", type=_count, metavar="N", help="the last N of them")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line, as the archive has them")
    form.add_argument("--full", action="store_true", help="all that each entry says, tracebacks too")
    show.set_defaults(run=_answering(_show))


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--archive", action="store_true", help="look at the vault alone")
    parser.add_argument("--chain", help="the folder below history/ in the vault, where it holds several")
    parser.add_argument("--environment", help="whose ledger and vault, of include/environments.py")


def _answering(
    command: Callable[[argparse.Namespace], int],
) -> Callable[[argparse.Namespace, Path], int]:
    def answer(given: argparse.Namespace, folder: Path) -> int:
        try:
            return command(given)
        except LockstepError as problem:
            print(f"lockstep: {problem}", file=sys.stderr)
            return UNSEEN

    return answer


def _verify(given: argparse.Namespace) -> int:
    from lockstep.cli.auditing.connections import open_ledger, open_vault
    from lockstep.engine.auditing.verifying import verify

    if given.ledger and given.archive:
        raise Refused("--ledger and --archive exclude each other: without both, both are looked at.")
    ledger = None if given.archive else open_ledger(given.environment)
    vault = None if given.ledger else open_vault(given.environment)
    chain = given.chain
    if given.archive and vault is not None:
        chain = _chain(vault, chain)
    audit = verify(ledger, vault, chain=chain)
    if given.json:
        print(json.dumps(_as_json(audit), indent=2, ensure_ascii=False))
    else:
        _tell(audit)
    return HOLDS if audit.holds else BROKEN


def _tell(audit: Audit) -> None:
    if audit.head is not None:
        print(f"ledger   {audit.head.id} entries, the last with the hash {audit.head.hash or 'of none'}")
    if audit.archived is not None:
        print(f"archive  {audit.archived.id} entries in {audit.objects} object(s)")
    if audit.head is not None and audit.archived is not None and audit.head.id > audit.archived.id:
        print(f"         not archived yet: entries {audit.archived.id + 1} to {audit.head.id}")
    for other in audit.others:
        print(f"         the vault also holds the chain {other}: see --archive --chain {other}")
    for finding in audit.findings:
        print(f"BROKEN   {finding}")
    if audit.holds:
        print("every entry follows the one before it")


def _as_json(audit: Audit) -> dict[str, object]:
    return {
        "holds": audit.holds,
        "ledger": None if audit.head is None else vars(audit.head),
        "archive": None if audit.archived is None else {**vars(audit.archived), "objects": audit.objects},
        "other_chains": list(audit.others),
        "broken": [vars(finding) for finding in audit.findings],
    }


def _show(given: argparse.Namespace) -> int:
    from lockstep.engine.auditing.telling import Wanted, tell

    wanted = Wanted(
        revision=given.revision,
        run=given.run_id,
        who=given.who,
        kind=given.kind,
        since=given.since,
        until=given.until,
        last=given.last,
    )
    found = tell(_entries(given), wanted)
    if given.json:
        return _print_lines(found)
    from lockstep.cli.auditing.showing import print_full, print_table

    if given.full:
        print_full(found)
    else:
        print_table(found)
    return HOLDS


def _entries(given: argparse.Namespace) -> Iterator[Entry]:
    from lockstep.cli.auditing.connections import open_ledger, open_vault
    from lockstep.engine.auditing.telling import from_archive, from_ledger

    if given.archive:
        vault = open_vault(given.environment)
        return from_archive(vault, _chain(vault, given.chain))
    return from_ledger(open_ledger(given.environment))


def _print_lines(found: Iterator[Entry]) -> int:
    from lockstep.domain.history import dumps

    for entry in found:
        print(dumps(entry))
    return HOLDS


def _chain(vault: Vault, named: str | None) -> str:
    """Return the folder that is meant; Refused where there is none, or more than one."""
    from lockstep.engine.auditing.verifying import chains

    found = chains(vault)
    if named is not None and named in found:
        return named
    if named is None and len(found) == 1:
        return found[0]
    there = ", ".join(found) or "none"
    raise Refused(f"the vault holds these chains of a history: {there}. Name one of them with --chain.")


def _grants(given: argparse.Namespace, folder: Path) -> int:
    from lockstep.stores.ledger.grants import grants

    print(grants(given.role))
    return HOLDS


def _schema(given: argparse.Namespace) -> int:
    from lockstep.cli.auditing.connections import open_ledger

    facts = open_ledger(given.environment).check()
    print(f"the ledger at {facts['address']} has schema version {facts['schema']}")
    return HOLDS


def _when(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no day and no moment, such as 2026-11-22T14:30"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _until(text: str) -> datetime:
    day = re.fullmatch(r"\s*\d{4}-\d{2}-\d{2}\s*", text)
    return _when(text) + timedelta(days=1) if day else _when(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of entries: write 1 or more")
    return int(text)
