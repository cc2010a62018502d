"""What a revision's upgrade(), downgrade() and verify() may yield."""

from lockstep.domain.expectations import check, expect_count, expect_none, expect_same_count
from lockstep.domain.objects import ObjectInfo, StoredObject
from lockstep.domain.operations.copy import copy
from lockstep.domain.operations.create_collection import create_collection
from lockstep.domain.operations.create_index import create_index
from lockstep.domain.operations.drop_collection import drop_collection
from lockstep.domain.operations.drop_column import drop_column
from lockstep.domain.operations.drop_index import drop_index
from lockstep.domain.operations.drop_objects import drop_objects
from lockstep.domain.operations.drop_table import drop_table
from lockstep.domain.operations.insert_documents import insert_documents
from lockstep.domain.operations.insert_rows import insert_rows
from lockstep.domain.operations.move_objects import move_objects
from lockstep.domain.operations.restore import restore
from lockstep.domain.operations.rewrite_table import rewrite_table
from lockstep.domain.operations.run_python import NO_REVERSE, run_python
from lockstep.domain.operations.set_validator import set_validator
from lockstep.domain.operations.sql import sql
from lockstep.domain.operations.sql_outside_transaction import sql_outside_transaction
from lockstep.domain.operations.transform_documents import transform_documents
from lockstep.domain.operations.transform_objects import transform_objects
from lockstep.domain.operations.transform_rows import transform_rows
from lockstep.domain.operations.update_documents import update_documents
from lockstep.domain.operations.update_metadata import update_metadata
from lockstep.domain.operations.update_rows import update_rows

__all__ = [
    "NO_REVERSE",
    "ObjectInfo",
    "StoredObject",
    "check",
    "copy",
    "create_collection",
    "create_index",
    "drop_collection",
    "drop_column",
    "drop_index",
    "drop_objects",
    "drop_table",
    "expect_count",
    "expect_none",
    "expect_same_count",
    "insert_documents",
    "insert_rows",
    "move_objects",
    "restore",
    "rewrite_table",
    "run_python",
    "set_validator",
    "sql",
    "sql_outside_transaction",
    "transform_documents",
    "transform_objects",
    "transform_rows",
    "update_documents",
    "update_metadata",
    "update_rows",
]
