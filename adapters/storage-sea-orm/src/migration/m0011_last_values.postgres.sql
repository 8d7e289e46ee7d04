-- Of each path of a device's payloads on each topic, the last value among rows that are in chunks. Paths are bytes: a key
-- of JSON may hold any character. Rows of the log are not in it, but for some that are about to be sealed.
-- The room in each page lets a value be replaced beside the one before.
CREATE TABLE IF NOT EXISTS telemetry_latest (
    device BIGINT NOT NULL,
    path BYTEA NOT NULL,
    topic BIGINT NOT NULL,
    timestamp BIGINT NOT NULL,
    id BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (device, path, topic)
) WITH (fillfactor = 70);

-- Devices whose values are not all there yet: their chunks have to be read once.
CREATE TABLE IF NOT EXISTS telemetry_latest_due (device BIGINT PRIMARY KEY);
INSERT INTO telemetry_latest_due SELECT DISTINCT device FROM telemetry_chunks ON CONFLICT DO NOTHING;

-- How often rows were removed from the log that were not in chunks: whoever remembers what the log says looks anew.
ALTER TABLE telemetry_log ADD COLUMN IF NOT EXISTS removals BIGINT NOT NULL DEFAULT 0;
