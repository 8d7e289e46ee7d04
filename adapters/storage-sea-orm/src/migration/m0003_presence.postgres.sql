-- The connection that a device opened last, and how many events it had so far, which numbers them.
ALTER TABLE devices ADD COLUMN connected_at BIGINT;
ALTER TABLE devices ADD COLUMN client_id TEXT;
ALTER TABLE devices ADD COLUMN remote_address TEXT;
ALTER TABLE devices ADD COLUMN protocol TEXT;
ALTER TABLE devices ADD COLUMN events BIGINT NOT NULL DEFAULT 0;
-- No process is running: nothing is online.
ALTER TABLE devices DROP COLUMN online;

-- A row for each device and each broker process through which it is online, with what it opened last there.
CREATE TABLE device_presence (
    device BIGINT NOT NULL REFERENCES devices (key),
    node TEXT NOT NULL,
    client_id TEXT NOT NULL,
    remote_address TEXT,
    protocol TEXT NOT NULL,
    PRIMARY KEY (device, node)
);
CREATE INDEX device_presence_of_node ON device_presence (node);

-- The events of a device are in one place, and those that are too old are the ones below a number.
CREATE TABLE device_events (
    device BIGINT NOT NULL REFERENCES devices (key),
    number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    client_id TEXT NOT NULL,
    remote_address TEXT,
    protocol TEXT NOT NULL,
    reason TEXT,
    PRIMARY KEY (device, number)
);
