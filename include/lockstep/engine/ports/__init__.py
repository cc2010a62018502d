"""What the engine asks of the outside: who may call, in what order, and what is raised.

Every method that meets a server raises Unavailable when it does not answer (worth a retry), and other
LockstepErrors for what a retry would not mend. Driver exceptions never leave a store.
"""

from lockstep.engine.ports.announcers import Announcer
from lockstep.engine.ports.documents import DocumentStore
from lockstep.engine.ports.ledger import Ledger, LedgerUnit
from lockstep.engine.ports.meters import Meter, NoMeter
from lockstep.engine.ports.objects import ObjectStore
from lockstep.engine.ports.sinks import LateSink, Sink
from lockstep.engine.ports.tables import TableReader, TableStore, TableUnit
from lockstep.engine.ports.vault import Vault

__all__ = [
    "Announcer",
    "DocumentStore",
    "LateSink",
    "Ledger",
    "LedgerUnit",
    "Meter",
    "NoMeter",
    "ObjectStore",
    "Sink",
    "TableReader",
    "TableStore",
    "TableUnit",
    "Vault",
]
