// Lockstep's user, made once, when the server's volume is empty. `db` is MONGO_INITDB_DATABASE, `campus`:
// a user made there authenticates there, which is what a plain mongodb://…/campus address does by itself.
// Any database: a rehearsal restores a backup into one of its own. On a server shared with others, grant
// readWrite and dbAdmin on `campus` and on the rehearsal's name instead.
db.createUser({
  user: "lockstep",
  pwd: process.env.LOCKSTEP_MONGO_PASSWORD,
  roles: [
    { role: "readWriteAnyDatabase", db: "admin" },
    { role: "dbAdminAnyDatabase", db: "admin" },
  ],
});
