-- What a tenant keeps of its telemetry: messages of a number of seconds, and a number of bytes; NULL is no limit.
ALTER TABLE tenants ADD COLUMN max_age_seconds BIGINT;
ALTER TABLE tenants ADD COLUMN max_bytes BIGINT;

-- How much a tenant has is told by the index alone.
DROP INDEX telemetry_chunks_of_tenant;
CREATE INDEX telemetry_chunks_of_tenant ON telemetry_chunks (tenant, last_at, first_at, batch, device, row_count, bytes);
