"""A revision's function that misbehaves is told with the record's key and the fix."""

from typing import Any

import pytest

from lockstep.domain.errors import RecordError
from lockstep.domain.objects import ObjectInfo, StoredObject
from lockstep.engine.functions import call_document, call_info, call_object, call_row

ROW = {"id": "u1", "email": "a", "links": {"x": [1]}}


def broken(record: Any) -> Any:
    raise KeyError("email")


def silent(record: Any) -> Any:
    record = dict(record)


def test_a_row_function_may_change_its_copy_in_place() -> None:
    def change(row: dict[str, Any]) -> dict[str, Any]:
        row["links"]["x"].append(2)
        return row

    assert call_row(change, ROW, ["id"], "table users")["links"] == {"x": [1, 2]}
    assert ROW["links"] == {"x": [1]}


def test_columns_left_out_keep_their_value() -> None:
    assert call_row(lambda row: {"email": "b"}, ROW, ["id"], "table users") == {**ROW, "email": "b"}


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (broken, "broken() raised KeyError"),
        (silent, "silent() returned NoneType (is a return missing?)"),
        (lambda row: [row], "returned list"),
        (lambda row: {**row, "id": "u2"}, "changed the primary key (id)"),
        (lambda row: {**row, "nmae": "x"}, "were not read: nmae"),
    ],
)
def test_a_row_function_that_misbehaves_names_the_row(function: Any, problem: str) -> None:
    with pytest.raises(RecordError) as caught:
        call_row(function, ROW, ["id"], "table users (campus_auth)")
    assert problem in str(caught.value)
    assert "'u1'" in str(caught.value)
    assert "table users (campus_auth)" in str(caught.value)
    assert "Fix:" in str(caught.value)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (broken, "raised KeyError"),
        (silent, "is a return missing?"),
        (lambda d: {"x": 1}, "changed _id"),
        (lambda d: {**d, "_id": 1}, "changed _id"),
        (lambda d: {**d, "_id": True}, "changed _id"),
    ],
)
def test_a_document_function_that_misbehaves_names_the_document(function: Any, problem: str) -> None:
    with pytest.raises(RecordError) as caught:
        call_document(function, {"_id": "s1"}, "collection notes")
    assert problem in str(caught.value)
    assert "'s1'" in str(caught.value)


@pytest.mark.parametrize(
    "function", [broken, silent, lambda o: o.body, lambda o: StoredObject(key="other", body=b"")]
)
def test_an_object_function_that_misbehaves_names_the_object(function: Any) -> None:
    with pytest.raises(RecordError, match="uploads/a"):
        call_object(function, StoredObject(key="uploads/a", body=b"x"), "prefix uploads/")


@pytest.mark.parametrize("function", [broken, silent, lambda i: ObjectInfo(key="other", size=1)])
def test_a_metadata_function_that_misbehaves_names_the_object(function: Any) -> None:
    with pytest.raises(RecordError, match="uploads/a"):
        call_info(function, ObjectInfo(key="uploads/a", size=1), "prefix uploads/")
