-- About how many bytes of memory it takes to make a chunk; 0 where nobody knows. Chunks that take much are not merged.
ALTER TABLE telemetry_chunks ADD COLUMN IF NOT EXISTS weight BIGINT NOT NULL DEFAULT 0;
-- All that is asked of small chunks: in a SQLite file, what stands behind the content of a chunk takes its pages to read.
DROP INDEX IF EXISTS telemetry_chunks_small;
CREATE INDEX telemetry_chunks_small ON telemetry_chunks (device, row_count, weight, tenant, first_at, last_at, batch)
    WHERE row_count < 4096;

-- How often the rows that are sealed together are halved; one more while they are being sealed. A process that finds more
-- than it left knows that another died over them.
ALTER TABLE telemetry_log ADD COLUMN IF NOT EXISTS halvings BIGINT NOT NULL DEFAULT 0;
