-- How tenants name what is published at topics: a list of rules each, as JSON.
CREATE TABLE IF NOT EXISTS topic_rules (
    tenant BIGINT PRIMARY KEY REFERENCES tenants (key) ON DELETE CASCADE,
    rules TEXT NOT NULL
);
