-- What brokers must not forget. `key` is given by the broker and unique within its node. Deliveries, subscriptions and
-- receipts have no foreign key to their session: they are written in large numbers, and what a session leaves behind is
-- removed with it or when its broker starts.
CREATE TABLE broker_nodes (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE broker_sessions (
    node BIGINT NOT NULL REFERENCES broker_nodes (key),
    key BIGINT NOT NULL,
    device BIGINT NOT NULL REFERENCES devices (key) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    expiry_seconds BIGINT NOT NULL,
    left_at BIGINT,
    will BYTEA,
    PRIMARY KEY (node, key)
);
CREATE INDEX broker_sessions_of_device ON broker_sessions (device);

CREATE TABLE broker_subscriptions (
    node BIGINT NOT NULL,
    session BIGINT NOT NULL,
    filter TEXT NOT NULL,
    share_group TEXT NOT NULL,
    options BIGINT NOT NULL,
    identifier BIGINT,
    PRIMARY KEY (node, session, filter, share_group)
);

CREATE TABLE broker_received (
    node BIGINT NOT NULL,
    session BIGINT NOT NULL,
    packet_id BIGINT NOT NULL,
    PRIMARY KEY (node, session, packet_id)
);

CREATE TABLE broker_messages (
    node BIGINT NOT NULL,
    key BIGINT NOT NULL,
    topic TEXT NOT NULL,
    payload BYTEA NOT NULL,
    qos BIGINT NOT NULL,
    retain BOOLEAN NOT NULL,
    expires_at BIGINT,
    properties BYTEA,
    PRIMARY KEY (node, key)
);

CREATE TABLE broker_deliveries (
    node BIGINT NOT NULL,
    key BIGINT NOT NULL,
    session BIGINT NOT NULL,
    message BIGINT NOT NULL,
    qos BIGINT NOT NULL,
    retain BOOLEAN NOT NULL,
    identifiers TEXT NOT NULL,
    share_group TEXT,
    PRIMARY KEY (node, key)
);
CREATE INDEX broker_deliveries_of_message ON broker_deliveries (node, message);
CREATE INDEX broker_deliveries_of_session ON broker_deliveries (node, session);

CREATE TABLE broker_progress (
    node BIGINT NOT NULL,
    delivery BIGINT NOT NULL,
    packet_id BIGINT NOT NULL,
    released BOOLEAN NOT NULL,
    PRIMARY KEY (node, delivery)
);

-- A topic that was cleared keeps a row without a payload for a while, so that a message that was retained before it was
-- cleared, and is written after, does not come back.
CREATE TABLE broker_retained (
    node BIGINT NOT NULL,
    tenant BIGINT NOT NULL REFERENCES tenants (key) ON DELETE CASCADE,
    topic TEXT NOT NULL,
    key BIGINT NOT NULL,
    payload BYTEA,
    qos BIGINT NOT NULL,
    expires_at BIGINT,
    properties BYTEA,
    PRIMARY KEY (node, tenant, topic)
);
CREATE INDEX broker_retained_of_tenant ON broker_retained (tenant);
CREATE INDEX broker_retained_cleared ON broker_retained (node, key) WHERE payload IS NULL;
