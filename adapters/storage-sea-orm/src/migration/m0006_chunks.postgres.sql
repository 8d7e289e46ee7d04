-- The table telemetry is the log of what is not yet in chunks. It is short, so its indexes are.

-- Rows of the log up to `sealed` are in chunks. Chunks of a batch later than `batch` do not count yet. One process at a
-- time seals: the one whose lease it is.
CREATE TABLE telemetry_log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sealed BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    owner BYTEA,
    owned_until BIGINT NOT NULL
);
INSERT INTO telemetry_log VALUES (1, 0, 0, NULL, 0);

-- Rows of one device, compressed. Times and counts are those of the content.
CREATE TABLE telemetry_chunks (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant BIGINT NOT NULL,
    device BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    row_count BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    content BYTEA NOT NULL
);
CREATE INDEX telemetry_chunks_of_device ON telemetry_chunks (device, last_at, first_at, batch);
CREATE INDEX telemetry_chunks_of_tenant ON telemetry_chunks (tenant, last_at, first_at, batch, device);
-- Those that are to become larger.
CREATE INDEX telemetry_chunks_small ON telemetry_chunks (device, row_count) WHERE row_count < 4096;
CREATE INDEX telemetry_chunks_of_batch ON telemetry_chunks (batch);

-- The paths that payloads of a device have, or had, in chunks: who looks for the last values knows when all are found.
CREATE TABLE telemetry_keys (
    device BIGINT NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (device, path)
);
