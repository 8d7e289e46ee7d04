-- User names and passwords that people gave to devices, one each.
CREATE TABLE device_logins (
    device INTEGER PRIMARY KEY REFERENCES devices (key) ON DELETE CASCADE,
    tenant INTEGER NOT NULL REFERENCES tenants (key) ON DELETE CASCADE,
    id BLOB NOT NULL,
    username TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
-- The user name first: whoever logs in says no tenant.
CREATE UNIQUE INDEX device_logins_username ON device_logins (username, tenant);
CREATE INDEX device_logins_tenant ON device_logins (tenant);
