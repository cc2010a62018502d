"""Which handler does which operation."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from lockstep.domain.operations.base import Operation
from lockstep.engine.operations.handler import Handler

#: verb → module in this package, class
_HANDLERS = {
    "copy": ("copy", "CopyHandler"),
    "create_collection": ("collections", "CreateCollectionHandler"),
    "create_index": ("collections", "CreateIndexHandler"),
    "drop_collection": ("collections", "DropCollectionHandler"),
    "drop_column": ("drop_column", "DropColumnHandler"),
    "drop_index": ("collections", "DropIndexHandler"),
    "drop_objects": ("move_objects", "DropObjectsHandler"),
    "drop_table": ("drop_table", "DropTableHandler"),
    "insert_documents": ("insert_documents", "InsertDocumentsHandler"),
    "insert_rows": ("insert_rows", "InsertRowsHandler"),
    "move_objects": ("move_objects", "MoveObjectsHandler"),
    "restore": ("restore", "RestoreHandler"),
    "rewrite_table": ("rewrite_table", "RewriteTableHandler"),
    "run_python": ("run_python", "RunPythonHandler"),
    "set_validator": ("collections", "SetValidatorHandler"),
    "sql": ("sql", "SqlHandler"),
    "sql_outside_transaction": ("sql_outside_transaction", "SqlOutsideTransactionHandler"),
    "transform_documents": ("transform_documents", "TransformDocumentsHandler"),
    "transform_objects": ("transform_objects", "TransformObjectsHandler"),
    "transform_rows": ("transform_rows", "TransformRowsHandler"),
    "update_documents": ("update_documents", "UpdateDocumentsHandler"),
    "update_metadata": ("update_metadata", "UpdateMetadataHandler"),
    "update_rows": ("update_rows", "UpdateRowsHandler"),
}

VERBS = frozenset(_HANDLERS)


@cache
def _handler(verb: str) -> Handler:
    # Imported when first needed: restore's handler looks up the handlers of other verbs here.
    module, name = _HANDLERS[verb]
    handler: Handler = getattr(import_module(f"lockstep.engine.operations.{module}"), name)()
    return handler


def handler_of(operation: Operation) -> Handler:
    return _handler(operation.verb)
