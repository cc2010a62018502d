"""What the benchmark's revisions move."""

from lockstep.resources import Bucket, Collection, Mongo, Postgres, Prefix, Table

People = Table(Postgres("campus_auth"), "people")
Answers = Collection(Mongo("campus_documents"), "answers")
Uploads = Prefix(Bucket("campus_objects"), "uploads/")
