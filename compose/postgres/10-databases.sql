-- Roles and databases, made once, when the server's volume is empty. psql runs this as the superuser.
-- Passwords are read from the environment by psql itself: they are in no file and on no command line.
\getenv airflow_password AIRFLOW_DB_PASSWORD
\getenv lockstep_password LOCKSTEP_DB_PASSWORD

-- Airflow's metadata has a role of its own, so that neither role can read the other's databases.
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
-- Lockstep owns what it migrates. CREATEDB: a rehearsal restores a backup into a database of its own.
CREATE ROLE lockstep LOGIN CREATEDB PASSWORD :'lockstep_password';

CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE campus_auth OWNER lockstep;
CREATE DATABASE campus_api OWNER lockstep;
-- campus_admin holds the ledger.
CREATE DATABASE campus_admin OWNER lockstep;
CREATE DATABASE campus_yapper OWNER lockstep;

REVOKE CONNECT ON DATABASE airflow, campus_auth, campus_api, campus_admin, campus_yapper FROM PUBLIC;

-- Yapper itself is not part of this stack, so its three tables are made here, as Yapper makes them.
\connect campus_yapper
SET ROLE lockstep;

CREATE TABLE events (
    id bigserial PRIMARY KEY,
    label text NOT NULL,
    data text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);

CREATE TABLE subscriptions (
    client_id text NOT NULL,
    label text NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    PRIMARY KEY (client_id, label)
);

CREATE TABLE unread (
    client_id text NOT NULL,
    label text NOT NULL,
    event_id bigint NOT NULL REFERENCES events (id),
    PRIMARY KEY (client_id, label, event_id),
    FOREIGN KEY (client_id, label) REFERENCES subscriptions (client_id, label)
);
