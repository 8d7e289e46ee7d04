-- The device is named by its id, so that a rule is read without another table. The rules of a device, or of a tenant, go in
-- the transaction that deletes it.
CREATE TABLE access_rules (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id UUID NOT NULL UNIQUE,
    tenant BIGINT NOT NULL REFERENCES tenants (key),
    device UUID REFERENCES devices (id),
    effect TEXT NOT NULL,
    action TEXT NOT NULL,
    topic TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX access_rules_of_tenant ON access_rules (tenant, device, id);
CREATE INDEX access_rules_of_device ON access_rules (device) WHERE device IS NOT NULL;
