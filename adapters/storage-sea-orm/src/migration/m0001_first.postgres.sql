-- Times are milliseconds since 1970.

CREATE TABLE tenants (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id UUID NOT NULL UNIQUE,
    name TEXT NOT NULL,
    payload_policy TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL DEFAULT FALSE
);
-- What is deleted but not yet purged holds no name.
CREATE UNIQUE INDEX tenants_name ON tenants (name) WHERE NOT deleted;
CREATE INDEX tenants_deleted ON tenants (key) WHERE deleted;

CREATE TABLE users (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id UUID NOT NULL UNIQUE,
    tenant BIGINT NOT NULL REFERENCES tenants (key),
    username TEXT NOT NULL,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    credential_version BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_username ON users (tenant, username);

CREATE TABLE devices (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id UUID NOT NULL UNIQUE,
    tenant BIGINT NOT NULL REFERENCES tenants (key),
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    notes TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    token_expires_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    online BOOLEAN NOT NULL,
    last_seen_at BIGINT,
    rejected_at BIGINT,
    rejected_topic TEXT,
    rejected_reason TEXT,
    deleted BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE UNIQUE INDEX devices_name ON devices (tenant, name) WHERE NOT deleted;
CREATE INDEX devices_in_order ON devices (tenant, id);
CREATE INDEX devices_deleted ON devices (key) WHERE deleted;

CREATE TABLE device_tokens (
    hash BYTEA NOT NULL PRIMARY KEY,
    device BIGINT NOT NULL REFERENCES devices (key),
    expires_at BIGINT,
    present BOOLEAN NOT NULL
);
CREATE INDEX device_tokens_device ON device_tokens (device);

-- Names are ordered by their bytes, so that a prefix is a range.
CREATE TABLE topics (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant BIGINT NOT NULL REFERENCES tenants (key),
    name TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX topics_name ON topics (tenant, name);

-- No foreign keys: checking three of them for each row costs more than writing it. The append transaction knows which
-- devices are there, and the purge removes the rows of those that go.
CREATE TABLE telemetry (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device BIGINT NOT NULL,
    topic BIGINT NOT NULL,
    tenant BIGINT NOT NULL,
    timestamp BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    payload TEXT NOT NULL
);
CREATE INDEX telemetry_of_device ON telemetry (device, timestamp, id);
CREATE INDEX telemetry_of_tenant ON telemetry (tenant, timestamp, id);

CREATE TABLE access_changes (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant UUID NOT NULL,
    device UUID,
    at BIGINT NOT NULL
);

CREATE TABLE dead_letters (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant UUID NOT NULL,
    device UUID NOT NULL,
    topic TEXT NOT NULL,
    payload BYTEA NOT NULL,
    timestamp BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL
);
