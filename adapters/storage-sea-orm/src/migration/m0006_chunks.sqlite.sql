-- The table telemetry is the log of what is not yet in chunks, in the order of its ids. An index of it would cost more
-- than all the rest of an append; who reads the log keeps an index in memory.
DROP INDEX telemetry_of_device;
DROP INDEX telemetry_of_tenant;

-- Rows of the log up to `sealed` are in chunks. Chunks of a batch later than `batch` do not count yet. One process at a
-- time seals: the one whose lease it is.
CREATE TABLE telemetry_log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sealed INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    owner BLOB,
    owned_until INTEGER NOT NULL
) STRICT;
INSERT INTO telemetry_log VALUES (1, 0, 0, NULL, 0);

-- Rows of one device, compressed. Times and counts are those of the content.
CREATE TABLE telemetry_chunks (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant INTEGER NOT NULL,
    device INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    content BLOB NOT NULL
) STRICT;
CREATE INDEX telemetry_chunks_of_device ON telemetry_chunks (device, last_at, first_at, batch);
CREATE INDEX telemetry_chunks_of_tenant ON telemetry_chunks (tenant, last_at, first_at, batch, device);
-- Those that are to become larger.
CREATE INDEX telemetry_chunks_small ON telemetry_chunks (device, row_count) WHERE row_count < 4096;
CREATE INDEX telemetry_chunks_of_batch ON telemetry_chunks (batch);

-- The paths that payloads of a device have, or had, in chunks: who looks for the last values knows when all are found.
CREATE TABLE telemetry_keys (
    device INTEGER NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (device, path)
) STRICT, WITHOUT ROWID;
