"""Count the words of each document by a Python function."""

from lockstep import ops
from resources import Answers

revision = "0001"
down_revision = None


def upgrade():
    yield ops.transform_documents(Answers, count_words)


def downgrade():
    yield ops.restore(Answers)


def verify():
    yield ops.expect_none(Answers, where={"words": {"$exists": False}})


def count_words(answers):
    return {**answers, "words": sum(len(one["text"].split()) for one in answers["responses"])}
