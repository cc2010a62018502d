// The health check, and the replica set's first start: healthy means that writes are accepted. A new
// member has no configuration; the first check gives it one, every later one finds it there. The server
// that the image runs for its own set-up has no replica set at all: that is "not yet", too.
const admin = db.getSiblingDB("admin");
admin.auth(process.env.MONGO_INITDB_ROOT_USERNAME, process.env.MONGO_INITDB_ROOT_PASSWORD);
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] });
}
quit(admin.hello().isWritablePrimary ? 0 : 1);
