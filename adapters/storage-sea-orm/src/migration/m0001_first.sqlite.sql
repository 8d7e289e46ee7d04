-- Keys are AUTOINCREMENT where something outside of the database, a cache or a cursor, may still hold the key of a row
-- that is gone. Times are milliseconds since 1970, ids are the 16 bytes of UUIDs.

CREATE TABLE tenants (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    payload_policy TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT FALSE
) STRICT;
-- What is deleted but not yet purged holds no name.
CREATE UNIQUE INDEX tenants_name ON tenants (name) WHERE NOT deleted;
CREATE INDEX tenants_deleted ON tenants (key) WHERE deleted;

CREATE TABLE users (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    tenant INTEGER NOT NULL REFERENCES tenants (key),
    username TEXT NOT NULL,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    credential_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_username ON users (tenant, username);

CREATE TABLE devices (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    tenant INTEGER NOT NULL REFERENCES tenants (key),
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    notes TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    token_expires_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    online INTEGER NOT NULL,
    last_seen_at INTEGER,
    rejected_at INTEGER,
    rejected_topic TEXT,
    rejected_reason TEXT,
    deleted INTEGER NOT NULL DEFAULT FALSE
) STRICT;
CREATE UNIQUE INDEX devices_name ON devices (tenant, name) WHERE NOT deleted;
CREATE INDEX devices_in_order ON devices (tenant, id);
CREATE INDEX devices_deleted ON devices (key) WHERE deleted;

CREATE TABLE device_tokens (
    hash BLOB NOT NULL PRIMARY KEY,
    device INTEGER NOT NULL REFERENCES devices (key),
    expires_at INTEGER,
    present INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX device_tokens_device ON device_tokens (device);

CREATE TABLE topics (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL REFERENCES tenants (key),
    name TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX topics_name ON topics (tenant, name);

-- No foreign keys: checking three of them for each row costs more than writing it. The append transaction knows which
-- devices are there, and the purge removes the rows of those that go.
CREATE TABLE telemetry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device INTEGER NOT NULL,
    topic INTEGER NOT NULL,
    tenant INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    payload TEXT NOT NULL
) STRICT;
-- Every index ends with the row's id, which is the tie-break of the order.
CREATE INDEX telemetry_of_device ON telemetry (device, timestamp);
CREATE INDEX telemetry_of_tenant ON telemetry (tenant, timestamp);

CREATE TABLE access_changes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant BLOB NOT NULL,
    device BLOB,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE dead_letters (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant BLOB NOT NULL,
    device BLOB NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    timestamp INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
