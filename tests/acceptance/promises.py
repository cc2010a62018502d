"""Check what the example revisions promise, at head, by asking the three stores: no product code is used.

One line for each promise; the exit status is 1 if one is broken, and the last line names it.

    python promises.py --postgres URI URI --mongo URI --db NAME --s3-endpoint URL --bucket NAME
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pymongo import MongoClient

EMAIL = re.compile(r"[a-z0-9_+-]+(\.[a-z0-9_+-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)+")
AVATAR = re.compile(r"avatars/(..)/\1[^/]*\.jpg")
#: Index name → whether it is valid, of one table in schema public.
INDEXES = """
    SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = to_regclass(%s)
"""
#: Where a dropped table is kept, if housekeeping has not removed it.
PARKED = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = 'lockstep_parked' AND table_name LIKE '%%sessions%%'
"""
READERS = 8
SIZES = ("users", "sessions", "submissions", "uploads")

Answer = str | None
promises: list[tuple[str, Callable[["Stores"], Answer]]] = []


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Hold what the promises are asked of."""

    auth: psycopg.Connection[Any]
    api: psycopg.Connection[Any]
    documents: Any
    s3: Any
    bucket: str
    #: how many of each there were before the first revision, where that is known
    sizes: dict[str, int | None]

    def keys(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def each(self, keys: list[str], ask: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
        with ThreadPoolExecutor(READERS) as pool:
            yield from zip(keys, pool.map(ask, keys), strict=True)

    def body(self, key: str) -> bytes:
        read: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return read

    def head(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.s3.head_object(Bucket=self.bucket, Key=key)
        return found

    def tags(self, key: str) -> dict[str, str]:
        answer = self.s3.get_object_tagging(Bucket=self.bucket, Key=key)
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    @cached_property
    def quizzes(self) -> dict[str, bytes]:
        return dict(self.each(self.keys("uploads/quizzes/"), self.body))


def promise(text: str) -> Callable[[Callable[[Stores], Answer]], Callable[[Stores], Answer]]:
    """Register a check: it returns what is wrong, or None."""

    def register(check: Callable[[Stores], Answer]) -> Callable[[Stores], Answer]:
        promises.append((text, check))
        return check

    return register


def one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]


def wrong(bad: list[Any], of: str) -> Answer:
    """Say how many are wrong, and name some."""
    return f"{len(bad)} {of}: {', '.join(map(str, bad[:3]))}" if bad else None


def differs(found: object, wanted: object) -> Answer:
    return None if found == wanted else f"{found!r}, and not {wanted!r}"


def indexes(connection: psycopg.Connection[Any], table: str, wanted: set[str]) -> Answer:
    found = dict(connection.execute(INDEXES, [f"public.{table}"]).fetchall())
    invalid = sorted(name for name, valid in found.items() if not valid)
    return wrong(invalid, "invalid index(es)") or wrong(sorted(wanted - set(found)), "missing index(es)")


def index_keys(collection: Any) -> list[list[str]]:
    return [list(index["key"]) for index in collection.list_indexes()]


def size_of(stores: Stores, kind: str, found: int) -> Answer:
    """Compare with the number there was before, or at least with none."""
    wanted = stores.sizes[kind]
    if wanted is None:
        return None if found else "there is none"
    return differs(found, wanted)


@promise("0001 assignments has the three that every school starts with")
def starters(stores: Stores) -> Answer:
    query = "SELECT array_agg(id ORDER BY id) FROM assignments WHERE created_by = 'uid-system-campus'"
    return differs(one(stores.api, query), ["asg-honesty", "asg-survey", "asg-welcome"])


@promise("0001 assignments has its three indexes, all valid")
def assignment_indexes(stores: Stores) -> Answer:
    wanted = {"assignments_created_by", "assignments_created_at", "assignments_classroom_links"}
    return indexes(stores.api, "assignments", wanted)


@promise("0002 submissions has an index on assignment and student")
def submission_index(stores: Stores) -> Answer:
    found = index_keys(stores.documents["submissions"])
    return None if ["assignment_id", "student_id"] in found else f"only {found}"


@promise("0002 no submission was lost or invented")
def submission_count(stores: Stores) -> Answer:
    return size_of(stores, "submissions", stores.documents["submissions"].count_documents({}))


@promise("0003 every response has the time at which its submission was created")
def stamped(stores: Stores) -> Answer:
    bad = [
        found["_id"]
        for found in stores.documents["submissions"].find({}, {"responses": 1, "created_at": 1})
        if any(response.get("created_at") != found["created_at"] for response in found["responses"])
    ]
    return wrong(bad, "submission(s) with a response that has not")


@promise("0004 traces has its partial and its GIN indexes, all valid")
def trace_indexes(stores: Stores) -> Answer:
    return indexes(
        stores.api, "traces", {"traces_errors", "traces_slow", "traces_headers", "traces_tags", "traces_pkey"}
    )


@promise("0005 users is there, and no user was lost or invented")
def user_count(stores: Stores) -> Answer:
    return size_of(stores, "users", one(stores.auth, "SELECT count(*) FROM public.users"))


@promise("0006 every display_name is the user's first name")
def display_names(stores: Stores) -> Answer:
    rows = stores.auth.execute("SELECT id, name, display_name FROM users")
    return wrong([key for key, name, shown in rows if shown != name.split(" ")[0]], "user(s) with another")


@promise("0007 no e-mail address is malformed")
def well_formed(stores: Stores) -> Answer:
    rows = stores.auth.execute("SELECT email FROM users")
    return wrong([email for (email,) in rows if not EMAIL.fullmatch(email)], "malformed address(es)")


@promise("0007 no two users were given one address")
def unique_emails(stores: Stores) -> Answer:
    query = "SELECT email FROM users GROUP BY email HAVING count(*) > 1"
    return wrong([email for (email,) in stores.auth.execute(query)], "address(es) twice")


@promise("0008 the table of sessions is no longer in public")
def sessions_left(stores: Stores) -> Answer:
    return differs(one(stores.auth, "SELECT to_regclass('public.sessions')"), None)


@promise("0008 every session is in the collection, with equal content")
def sessions_moved(stores: Stores) -> Answer:
    fields = ("user_id", "client_id", "expires_at", "created_at")
    found = {
        session["_id"]: tuple(session.get(name) for name in fields)
        for session in stores.documents["sessions"].find()
    }
    for (table,) in stores.auth.execute(PARKED).fetchall():
        query = sql.SQL("SELECT id, {} FROM lockstep_parked.{}").format(
            sql.SQL(", ").join(map(sql.Identifier, fields)), sql.Identifier(table)
        )
        rows = {key: tuple(values) for key, *values in stores.auth.execute(query)}
        bad = [key for key in rows.keys() | found.keys() if rows.get(key) != found.get(key)]
        if bad:
            return wrong(sorted(bad), f"session(s) not as in lockstep_parked.{table}")
    return size_of(stores, "sessions", len(found))


@promise("0008 sessions has an index on user_id")
def session_index(stores: Stores) -> Answer:
    found = index_keys(stores.documents["sessions"])
    return None if ["user_id"] in found else f"only {found}"


@promise("0009 nothing is left below uploads/avatars/, and no upload was lost or invented")
def uploads_moved(stores: Stores) -> Answer:
    moved = len(stores.keys("avatars/")) + len(stores.keys("uploads/"))
    return wrong(stores.keys("uploads/avatars/"), "left") or size_of(stores, "uploads", moved)


@promise("0009 every avatar lies below the first two characters of its name")
def avatars_spread(stores: Stores) -> Answer:
    return wrong([key for key in stores.keys("avatars/") if not AVATAR.fullmatch(key)], "other key(s)")


@promise("0009 every avatar is tagged")
def avatars_tagged(stores: Stores) -> Answer:
    wanted = {"kind": "avatar", "public": "yes"}
    asked = stores.each(stores.keys("avatars/"), stores.tags)
    return wrong([key for key, tags in asked if tags != wanted], "with other tags")


@promise("0009 every avatar has kept its content type and its metadata")
def avatars_kept(stores: Stores) -> Answer:
    asked = stores.each(stores.keys("avatars/"), stores.head)
    bad = [
        key
        for key, head in asked
        if head["ContentType"] != "image/jpeg" or set(head["Metadata"]) != {"owner-id", "kind", "width"}
    ]
    return wrong(bad, "changed")


@promise("0009 every quiz export is compact JSON of schema 3")
def quizzes_compact(stores: Stores) -> Answer:
    asked = stores.each(sorted(stores.quizzes), stores.head)
    bad = [
        key
        for key, head in asked
        if head["Metadata"].get("schema") != "3"
        or json.dumps(json.loads(stores.quizzes[key]), separators=(",", ":")).encode() != stores.quizzes[key]
    ]
    return wrong(bad, "other(s)")


@promise("0010 every user has a profile at profile_key, with a name and no address")
def profiles(stores: Stores) -> Answer:
    bodies = dict(stores.each(stores.keys("profiles/"), stores.body))
    bad = []
    for key, name, email, made, at in stores.auth.execute(
        "SELECT id, display_name, email, (created_at AT TIME ZONE 'utc')::date, profile_key FROM users"
    ):
        body = bodies.pop(at, b"{}")
        wanted = {"id": key, "name": name, "since": made.isoformat()}
        if at != f"profiles/{key}.json" or json.loads(body) != wanted or email.encode() in body:
            bad.append(key)
    return wrong(bad, "user(s) without") or wrong(sorted(bodies), "profile(s) of nobody")


@promise("0010 users have no activated_at any more, and its data is parked beside them")
def retired(stores: Stores) -> Answer:
    names = [
        name
        for (name,) in stores.auth.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name = 'users' AND column_name LIKE '%activated_at'"
        )
    ]
    if len(names) != 1 or not names[0].startswith("_lockstep"):
        return f"the columns are {names}"
    return None


@promise("0010 a submission is shown on the profile if, and only if, it was submitted")
def shown(stores: Stores) -> Answer:
    bad = [
        found["_id"]
        for found in stores.documents["submissions"].find({}, {"shown_on": 1, "submitted_at": 1})
        if found.get("shown_on") != ("profile" if "submitted_at" in found else None)
    ]
    return wrong(bad, "submission(s) otherwise")


@promise("0011 the rubrics are rows, and their collection is out of use")
def rubrics(stores: Stores) -> Answer:
    if "rubrics" in stores.documents.list_collection_names():
        return "the collection is there"
    rows = stores.api.execute("SELECT id, title, points FROM public.rubrics ORDER BY points").fetchall()
    wanted = [("rub-developing", "Developing", 1), ("rub-good", "Good", 2), ("rub-excellent", "Excellent", 3)]
    return differs([row for row in rows if row in wanted], wanted)


@promise("0011 every quiz export is a row, with its answers counted")
def quiz_rows(stores: Stores) -> Answer:
    wanted = {}
    for key, body in stores.quizzes.items():
        quiz = json.loads(body)
        name = key.rpartition("/")[2].removesuffix(".json")
        owner = stores.head(key)["Metadata"]["owner-id"]
        wanted[name] = (owner, quiz["assignment_id"], len(quiz["answers"]))
    query = "SELECT id, owner_id, assignment_id, answers FROM quiz_exports"
    rows = {key: tuple(values) for key, *values in stores.api.execute(query)}
    bad = [key for key in rows.keys() | wanted.keys() if rows.get(key) != wanted.get(key)]
    return wrong(sorted(bad), "export(s) otherwise")


@promise("0011 the totals are those of the submissions")
def totals(stores: Stores) -> Answer:
    found = stores.documents["submissions"].find({}, {"course_id": 1})
    wanted = Counter(submission["course_id"] for submission in found)
    rows = dict(stores.api.execute("SELECT course_id, submissions FROM submission_totals").fetchall())
    bad = [course for course in wanted.keys() | rows.keys() if wanted.get(course) != rows.get(course)]
    return wrong(sorted(bad), "course(s) with another")


@promise("0011 the index on course_id is gone")
def course_index(stores: Stores) -> Answer:
    return "it is there" if ["course_id"] in index_keys(stores.documents["submissions"]) else None


def broken_promises(stores: Stores) -> list[str]:
    """Print one line for each promise; return those that are broken."""
    broken = []
    for text, check in promises:
        try:
            problem = check(stores)
        except Exception as error:
            for connection in (stores.auth, stores.api):
                connection.rollback()
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
        print(f"kept    {text}" if problem is None else f"BROKEN  {text}: {problem}")
        if problem is not None:
            broken.append(text)
    return broken


def main() -> int:
    """Ask the stores that the options name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--postgres", nargs="+", required=True, metavar="URI", help="of campus_auth and of campus_api"
    )
    parser.add_argument("--mongo", required=True, metavar="URI")
    parser.add_argument("--db", default="campus", metavar="NAME")
    parser.add_argument(
        "--s3-endpoint", required=True, metavar="URL", help="credentials come from AWS_* variables"
    )
    parser.add_argument("--s3-region", default="us-east-1")
    parser.add_argument("--bucket", default="campus", metavar="NAME")
    for kind in SIZES:
        parser.add_argument(f"--{kind}", type=int, metavar="N", help="how many there were before")
    options = parser.parse_args()
    uris = {conninfo_to_dict(uri).get("dbname"): uri for uri in options.postgres}
    missing = [name for name in ("campus_auth", "campus_api") if name not in uris]
    if missing:
        parser.error(f"--postgres names no database {' and no '.join(missing)}")
    client: MongoClient[Any]
    with (
        psycopg.connect(uris["campus_auth"]) as auth,
        psycopg.connect(uris["campus_api"]) as api,
        MongoClient(options.mongo, tz_aware=True) as client,
    ):
        stores = Stores(
            auth=auth,
            api=api,
            documents=client[options.db],
            s3=boto3.client("s3", endpoint_url=options.s3_endpoint, region_name=options.s3_region),
            bucket=options.bucket,
            sizes={kind: getattr(options, kind) for kind in SIZES},
        )
        try:
            broken = broken_promises(stores)
        finally:
            stores.s3.close()
    print(f"{len(promises) - len(broken)} of {len(promises)} promises kept", end="")
    print(f"; broken: {'; '.join(broken)}" if broken else "")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
