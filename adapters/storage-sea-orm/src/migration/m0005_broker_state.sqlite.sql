-- What brokers must not forget. `key` is given by the broker and unique within its node. Deliveries, subscriptions and
-- receipts have no foreign key to their session: they are written in large numbers, and what a session leaves behind is
-- removed with it or when its broker starts.
CREATE TABLE broker_nodes (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE broker_sessions (
    node INTEGER NOT NULL REFERENCES broker_nodes (key),
    key INTEGER NOT NULL,
    device INTEGER NOT NULL REFERENCES devices (key) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    expiry_seconds INTEGER NOT NULL,
    left_at INTEGER,
    will BLOB,
    PRIMARY KEY (node, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX broker_sessions_of_device ON broker_sessions (device);

CREATE TABLE broker_subscriptions (
    node INTEGER NOT NULL,
    session INTEGER NOT NULL,
    filter TEXT NOT NULL,
    share_group TEXT NOT NULL,
    options INTEGER NOT NULL,
    identifier INTEGER,
    PRIMARY KEY (node, session, filter, share_group)
) STRICT, WITHOUT ROWID;

CREATE TABLE broker_received (
    node INTEGER NOT NULL,
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    PRIMARY KEY (node, session, packet_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE broker_messages (
    node INTEGER NOT NULL,
    key INTEGER NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    expires_at INTEGER,
    properties BLOB,
    PRIMARY KEY (node, key)
) STRICT;

CREATE TABLE broker_deliveries (
    node INTEGER NOT NULL,
    key INTEGER NOT NULL,
    session INTEGER NOT NULL,
    message INTEGER NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    identifiers TEXT NOT NULL,
    share_group TEXT,
    PRIMARY KEY (node, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX broker_deliveries_of_message ON broker_deliveries (node, message);
CREATE INDEX broker_deliveries_of_session ON broker_deliveries (node, session);

CREATE TABLE broker_progress (
    node INTEGER NOT NULL,
    delivery INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    released INTEGER NOT NULL,
    PRIMARY KEY (node, delivery)
) STRICT, WITHOUT ROWID;

-- A topic that was cleared keeps a row without a payload for a while, so that a message that was retained before it was
-- cleared, and is written after, does not come back.
CREATE TABLE broker_retained (
    node INTEGER NOT NULL,
    tenant INTEGER NOT NULL REFERENCES tenants (key) ON DELETE CASCADE,
    topic TEXT NOT NULL,
    key INTEGER NOT NULL,
    payload BLOB,
    qos INTEGER NOT NULL,
    expires_at INTEGER,
    properties BLOB,
    PRIMARY KEY (node, tenant, topic)
) STRICT;
CREATE INDEX broker_retained_of_tenant ON broker_retained (tenant);
CREATE INDEX broker_retained_cleared ON broker_retained (node, key) WHERE payload IS NULL;
