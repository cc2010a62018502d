"""Campus's databases and what lives in them, declared once: a revision imports a name, never spells one.

Each database is named by the Airflow connection that opens it. To declare is all that happens here.
"""

from lockstep.resources import Bucket, Collection, Mongo, Postgres, Prefix, Table

#: The auth service's database.
Auth = Postgres("campus_auth")
Users = Table(Auth, "users")
Sessions = Table(Auth, "sessions")

#: The api service's database.
Api = Postgres("campus_api")
Assignments = Table(Api, "assignments")
Traces = Table(Api, "traces")
RubricRows = Table(Api, "rubrics")
QuizExports = Table(Api, "quiz_exports")
SubmissionTotals = Table(Api, "submission_totals")

#: MongoDB; Campus's `id` is stored as `_id` there.
Documents = Mongo("campus_documents")
Submissions = Collection(Documents, "submissions")
Rubrics = Collection(Documents, "rubrics")
LiveSessions = Collection(Documents, "sessions")

#: The bucket, whose name is in the connection; a logical bucket of Campus is a key prefix.
Objects = Bucket("campus_objects")
Uploads = Prefix(Objects, "uploads/")
UploadedAvatars = Prefix(Objects, "uploads/avatars/")
Quizzes = Prefix(Objects, "uploads/quizzes/")
Avatars = Prefix(Objects, "avatars/")
Profiles = Prefix(Objects, "profiles/")
