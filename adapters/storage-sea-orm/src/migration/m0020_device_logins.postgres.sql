-- User names and passwords that people gave to devices, one each.
CREATE TABLE IF NOT EXISTS device_logins (
    device BIGINT PRIMARY KEY REFERENCES devices (key) ON DELETE CASCADE,
    tenant BIGINT NOT NULL REFERENCES tenants (key) ON DELETE CASCADE,
    id UUID NOT NULL,
    username TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
-- The user name first: whoever logs in says no tenant.
CREATE UNIQUE INDEX IF NOT EXISTS device_logins_username ON device_logins (username, tenant);
CREATE INDEX IF NOT EXISTS device_logins_tenant ON device_logins (tenant);
