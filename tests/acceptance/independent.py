"""Hash what three stores hold, with nothing but their drivers: a witness without the product's code.

Equal hashes mean equal content and equal definitions, whatever the physical layout. What Lockstep reserves
for itself (schemas `lockstep…`, collections `_lockstep…`, keys `_lockstep/…`) is left out.

    python independent.py --postgres URI... --mongo URI --db NAME --s3-endpoint URL --bucket NAME
"""

import argparse
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import psycopg
from bson import SON, encode
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pymongo import MongoClient

COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
           pg_get_expr(d.adbin, d.adrelid), c.collname
    FROM pg_attribute a
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_collation c ON c.oid = a.attcollation
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attname
"""
CONSTRAINTS = """
    SELECT conname, contype::text, pg_get_constraintdef(oid), convalidated
    FROM pg_constraint WHERE conrelid = %s ORDER BY conname
"""
INDEXES = """
    SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = %s ORDER BY c.relname
"""
TRIGGERS = """
    SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger
    WHERE tgrelid = %s AND NOT tgisinternal ORDER BY tgname
"""
TABLES = """
    SELECT c.oid, n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
      AND n.nspname NOT LIKE 'lockstep%' AND NOT c.relispartition
    ORDER BY n.nspname, c.relname
"""
#: Text forms must not depend on the server's or the role's settings.
SETTINGS = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=iso_8601 -c extra_float_digits=3 -c bytea_output=hex"
)
READERS = 8


def hash_postgres(uri: str, tables: Sequence[str] | None = None) -> str:
    """Return the SHA-256 of the tables' definitions and rows; tables as `name` or `schema.name`, or all."""
    digest = hashlib.sha256()
    with psycopg.connect(uri, options=SETTINGS) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found = connection.execute(TABLES).fetchall()
        names = {f"{schema}.{table}" for _, schema, table in found}
        wanted = names if tables is None else {name if "." in name else f"public.{name}" for name in tables}
        for missing in sorted(wanted - names):
            _add(digest, "absent", missing)
        for oid, schema, table in found:
            if f"{schema}.{table}" not in wanted:
                continue
            _add(digest, "table", schema, table)
            for query in (COLUMNS, CONSTRAINTS, INDEXES, TRIGGERS):
                _add(digest, json.dumps(connection.execute(query, [oid]).fetchall()))
            for line in _rows(connection, oid, schema, table):
                _add(digest, line)
    return digest.hexdigest()


def _rows(connection: psycopg.Connection[Any], oid: int, schema: str, table: str) -> Iterator[str]:
    """Yield every row as text, columns by name, sorted bytewise by the server."""
    names = [name for (name, *_) in connection.execute(COLUMNS, [oid]).fetchall()]
    row = sql.SQL("ROW({})::text").format(sql.SQL(", ").join(map(sql.Identifier, names)))
    partitioned = "SELECT relkind = 'p' FROM pg_class WHERE oid = %s"
    whole = connection.execute(partitioned, [oid]).fetchone() == (True,)
    source = sql.SQL("{}" if whole else "ONLY {}").format(sql.Identifier(schema, table))
    lines = sql.SQL("SELECT {} AS line FROM {}").format(row, source)
    query = sql.SQL('SELECT line FROM ({}) AS rows ORDER BY line COLLATE "C"').format(lines)
    with connection.cursor(name="witness") as cursor:
        cursor.itersize = 5000
        cursor.execute(query)
        for (line,) in cursor:
            yield line


def hash_mongo(uri: str, db: str) -> str:
    """Return the SHA-256 of the collections' options, indexes and documents (as BSON: field order counts)."""
    digest = hashlib.sha256()
    client: MongoClient[RawBSONDocument]
    with MongoClient(uri) as client:
        plain = client[db]
        raw = client.get_database(db, codec_options=CodecOptions(document_class=RawBSONDocument))
        options = {one["name"]: one.get("options", {}) for one in plain.list_collections()}
        for name in sorted(options):
            if name.startswith(("_lockstep", "system.")):
                continue
            _add(digest, "collection", name, _sorted_json(options[name]))
            for index in sorted(_sorted_json(one) for one in _index_definitions(plain[name].list_indexes())):
                _add(digest, "index", index)
            # By the encoded _id: a server's own order of unlike types is not the same everywhere.
            found = [
                (encode(SON([("_id", one["_id"])])), hashlib.sha256(one.raw).digest())
                for one in raw[name].find()
            ]
            for key, body in sorted(found):
                _add(digest, key, body)
    return digest.hexdigest()


def _index_definitions(indexes: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield what an index does; its namespace and format version say where it is and how it is stored."""
    for index in indexes:
        definition = {name: value for name, value in dict(index).items() if name not in ("ns", "v")}
        definition["key"] = list(definition.get("key", {}).items())
        yield definition


def hash_s3(client_kwargs: dict[str, Any], bucket: str, prefix: str = "") -> str:
    """Return the SHA-256 of the objects: key, body, content type, metadata and tags."""
    digest = hashlib.sha256()
    client = boto3.client("s3", **client_kwargs)
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        listed = [one["Key"] for page in pages for one in page.get("Contents", ())]
        keys = sorted((key for key in listed if not key.startswith("_lockstep/")), key=str.encode)
        with ThreadPoolExecutor(READERS) as pool:
            for line in pool.map(lambda key: _object(client, bucket, key), keys):
                _add(digest, line)
    finally:
        client.close()
    return digest.hexdigest()


def _object(client: Any, bucket: str, key: str) -> str:
    """Return one line that is the same for the same object."""
    answer = client.get_object(Bucket=bucket, Key=key)
    body = hashlib.sha256()
    for block in answer["Body"].iter_chunks(1024 * 1024):
        body.update(block)
    tags = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    said = {name: answer.get(name) for name in ("ContentType", "ContentEncoding", "CacheControl", "Metadata")}
    pairs = sorted((tag["Key"], tag["Value"]) for tag in tags)
    return _sorted_json({"key": key, "body": body.hexdigest(), "tags": pairs, **said})


def _sorted_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _add(digest: Any, *parts: str | bytes) -> None:
    """Add each part with its length before it, so that no two sequences of parts look the same."""
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)


def main() -> None:
    """Print the hash of each store that the options name, as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--postgres", nargs="*", default=[], metavar="URI")
    parser.add_argument("--tables", nargs="*", metavar="TABLE")
    parser.add_argument("--mongo", metavar="URI")
    parser.add_argument("--db", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--s3-endpoint", metavar="URL", help="credentials come from AWS_* variables")
    parser.add_argument("--s3-region", default="us-east-1")
    parser.add_argument("--bucket", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--prefix", default="")
    options = parser.parse_args()
    kwargs = {"endpoint_url": options.s3_endpoint, "region_name": options.s3_region}
    hashes = {
        **{
            f"postgres:{conninfo_to_dict(uri).get('dbname')}": hash_postgres(uri, options.tables)
            for uri in options.postgres
        },
        **{f"mongo:{name}": hash_mongo(options.mongo, name) for name in options.db},
        **{f"s3:{name}/{options.prefix}": hash_s3(kwargs, name, options.prefix) for name in options.bucket},
    }
    print(json.dumps(hashes, indent=2))


if __name__ == "__main__":
    main()
