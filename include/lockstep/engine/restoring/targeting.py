"""What of a backup goes where, and what is there now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lockstep.domain.backups import StoredBackup
from lockstep.domain.chain import Chain
from lockstep.domain.errors import Refused
from lockstep.domain.resources import Bucket, Database, Everything, Touched
from lockstep.domain.run import Run
from lockstep.engine.backup import fingerprints, touched_in
from lockstep.engine.copied import resources_of
from lockstep.engine.restoring.plan import KINDS, Target, moved
from lockstep.engine.services import Services


def targets_of(
    services: Services,
    chain: Chain,
    run: Run,
    stored: Sequence[StoredBackup],
    only: Sequence[str],
    into: Mapping[str, str],
) -> tuple[Target, ...]:
    """Return what goes where; Refused for names that the backup does not hold."""
    picked = _picked(run, stored, only)
    unknown = sorted(set(into) - {one.manifest.conn_id for one, _ in picked})
    if unknown:
        raise Refused(
            f"into names {', '.join(map(repr, unknown))}, of which nothing is put back. Of run {run.id} there are: "
            f"{', '.join(one.manifest.conn_id for one, _ in picked)}.",
            into=unknown,
        )
    targets = [
        _target(services, chain, run, one, names, into.get(one.manifest.conn_id)) for one, names in picked
    ]
    places = [target.into for target in targets]
    twice = sorted({place.conn_id for place in places if places.count(place) > 1})
    if twice:
        raise Refused(
            f"two databases of the backup would go into {', '.join(twice)}. Put them back one after the other: "
            "resource = <connection> takes one of them.",
            into=twice,
        )
    return tuple(targets)


def _picked(
    run: Run, stored: Sequence[StoredBackup], only: Sequence[str]
) -> list[tuple[StoredBackup, set[str] | None]]:
    """Return the databases asked for, each with the slugs asked for, or None for all of it."""
    if not only:
        return [(one, None) for one in stored]
    wanted: dict[str, set[str] | None] = {}
    for name in only:
        found = [one for one in stored if name == one.manifest.conn_id]
        if found:
            wanted[name] = None
            continue
        conn_id, _, slug = name.rpartition(":")
        homes = [
            one.manifest.conn_id
            for one in stored
            if slug in one.manifest.fingerprints and conn_id in ("", one.manifest.conn_id)
        ]
        if len(homes) != 1:
            raise Refused(_which(run, stored, name, homes), resource=name)
        slugs = wanted.setdefault(homes[0], set())
        if slugs is not None:
            slugs.add(slug)
    return [(one, wanted[one.manifest.conn_id]) for one in stored if one.manifest.conn_id in wanted]


def _which(run: Run, stored: Sequence[StoredBackup], name: str, homes: Sequence[str]) -> str:
    if homes:
        named = ", ".join(f"{home}:{name}" for home in homes)
        return f"the backup of run {run.id} has {name!r} in several databases. Name one of: {named}."
    held = ", ".join(
        f"{one.manifest.conn_id}:{slug}" for one in stored for slug in sorted(one.manifest.fingerprints)
    )
    return f"the backup of run {run.id} holds no {name!r}. It holds: {held}."


def _target(
    services: Services, chain: Chain, run: Run, one: StoredBackup, names: set[str] | None, into: str | None
) -> Target:
    source = database_of(chain, one.manifest.conn_id, one.manifest.kind)
    place = source if into in (None, source.conn_id) else database_of(chain, into, one.manifest.kind)
    all_of_it = _all_of_it(services, chain, run, one, source)
    chosen = all_of_it
    if names is not None and names != set(one.manifest.fingerprints):
        listed = resources_of(source, one.manifest)
        chosen = tuple(resource for resource in listed if resource.slug in names)
    elif place != source:
        chosen = tuple(resources_of(source, one.manifest))
    resources = tuple(moved(resource, place) for resource in chosen)
    now = fingerprints(services, place, resources, keys_only=True)
    return Target(
        manifest=one.manifest,
        proof=one.proof,
        source=source,
        into=place,
        resources=resources,
        whole=names is None or names == set(one.manifest.fingerprints),
        present={slug: held.count for slug, held in now.items() if held.present},
    )


def _all_of_it(
    services: Services, chain: Chain, run: Run, one: StoredBackup, database: Database
) -> tuple[Touched, ...]:
    """Return what the backup was taken of: tables made since are part of everything, and of no list of tables."""
    if run.direction == "restore":
        told = next(
            (t for t in run.facts.get("targets", ()) if t["into"]["conn_id"] == database.conn_id), None
        )
        if told is not None and {} in told["resources"]:
            return (Everything(database),)
        return tuple(resources_of(database, one.manifest))
    revision = next((r for r in chain.revisions if r.id == run.revision), None)
    if revision is not None and revision.checksum == run.checksum and database in revision.databases:
        return touched_in(revision, database)
    services.log.warning(
        f"the file of revision {run.revision} is not the one that run {run.id} began with: of {database.conn_id} what "
        "the manifest lists is put back, and a table that was made since stays"
    )
    return tuple(resources_of(database, one.manifest))


def database_of(chain: Chain, conn_id: str, kind: str) -> Database:
    """Return the database of a connection as the revisions declare it, or one of that kind."""
    declared = (database for revision in chain.revisions for database in revision.databases)
    for database in declared:
        if database.conn_id == conn_id:
            if database.kind != kind:
                raise Refused(
                    f"{conn_id!r} is a {type(database).__name__}, and the backup is of a {KINDS[kind].__name__}. Name "
                    "a connection of the same kind.",
                    conn_id=conn_id,
                )
            return database
    return Bucket(conn_id) if kind == Bucket.kind else KINDS[kind](conn_id)
