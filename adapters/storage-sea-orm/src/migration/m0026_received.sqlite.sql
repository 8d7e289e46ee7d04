-- When the first and the last of a chunk's rows were received: what was stored lately stays, whatever times it is about. NULL in
-- chunks from before: then they count as received at the times they are about.
ALTER TABLE telemetry_chunks ADD COLUMN received_first INTEGER;
ALTER TABLE telemetry_chunks ADD COLUMN received_last INTEGER;
-- What is too old is told by the index alone.
DROP INDEX telemetry_chunks_of_tenant;
CREATE INDEX telemetry_chunks_of_tenant ON telemetry_chunks
    (tenant, last_at, first_at, batch, device, row_count, bytes, received_first, received_last);

-- The time up to which a tenant's telemetry was removed for its age; no row after a change of its retention.
CREATE TABLE IF NOT EXISTS pruned_tenants (
    tenant INTEGER NOT NULL PRIMARY KEY,
    pruned_to INTEGER NOT NULL
) STRICT;
