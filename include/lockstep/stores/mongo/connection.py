"""Open the client, once a store, when it is first needed."""

from __future__ import annotations

import threading
import weakref
from functools import cached_property
from typing import Any

from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection as PyCollection
from pymongo.database import Database
from pymongo.errors import InvalidURI
from pymongo.write_concern import WriteConcern

from lockstep.domain.errors import Refused
from lockstep.domain.resources import Mongo
from lockstep.stores.mongo.capabilities import Capabilities, probe
from lockstep.stores.mongo.codec import DECODE, ENCODE, Document
from lockstep.stores.mongo.errors import Translator

#: milliseconds, unless the URI says otherwise
TIMEOUTS = {"serverSelectionTimeoutMS": 10_000, "connectTimeoutMS": 10_000}


class Connection:
    """Hold the client, the database and what was found out about the server."""

    def __init__(self, database: Mongo, uri: str, dbname: str, *, read_only: bool = False) -> None:
        self.declared = database
        #: nothing may be written, not even to find out what the server can do
        self.read_only = read_only
        self.dbname = dbname
        self.translate = Translator(database, uri, dbname)
        self._uri = uri
        # Threads share the store: what is read ahead is read in another one.
        self._lock = threading.RLock()
        self._client: MongoClient[Document] | None = None
        self._capabilities: Capabilities | None = None

    def beside(self, dbname: str) -> Connection:
        """Return a connection to another database of the same server."""
        made = Connection(self.declared, self._uri, dbname, read_only=self.read_only)
        made._capabilities = self._capabilities
        return made

    @property
    def client(self) -> MongoClient[Document]:
        with self._lock:
            if self._client is None:
                self._client = self._opened()
            return self._client

    def _opened(self) -> MongoClient[Document]:
        given = self._uri.lower()
        timeouts: dict[str, Any] = {name: ms for name, ms in TIMEOUTS.items() if name.lower() not in given}
        try:
            client: MongoClient[Document] = MongoClient(
                self._uri, connect=False, appname="lockstep", **timeouts
            )
        except (InvalidURI, ValueError):
            # From None: the driver quotes pieces of the URI, which may be pieces of the password.
            raise Refused(
                f"The Airflow connection {self.declared.conn_id!r} makes no MongoDB URI. "
                "Mend its host, port and extra, and percent-encode its login and password.",
                conn_id=self.declared.conn_id,
            ) from None
        weakref.finalize(self, client.close)
        return client

    @cached_property
    def db(self) -> Database[Document]:
        """Return the database: reads from the primary, writes that an election cannot take back."""
        with self.translate("opening it"):
            return self.client.get_database(
                self.dbname,
                codec_options=DECODE,
                read_preference=ReadPreference.PRIMARY,
                write_concern=WriteConcern(w="majority"),
            )

    def collection(self, name: str) -> PyCollection[Document]:
        return self.db[name]

    def writer(self, name: str) -> PyCollection[Document]:
        """Return a collection that also takes native UUIDs."""
        return self.db[name].with_options(codec_options=ENCODE)

    @property
    def capabilities(self) -> Capabilities:
        with self._lock:
            if self._capabilities is None:
                if self.read_only:
                    raise Refused(
                        f"{self.translate.where} is only looked at here, and what the server can do is found out by "
                        "writing. Ask in a run that is no dry run.",
                        conn_id=self.declared.conn_id,
                    )
                with self.translate("asking what it can do"):
                    self._capabilities = probe(self.db)
            return self._capabilities

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
