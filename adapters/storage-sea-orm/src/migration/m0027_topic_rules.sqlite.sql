-- How tenants name what is published at topics: a list of rules each, as JSON.
CREATE TABLE topic_rules (
    tenant INTEGER PRIMARY KEY REFERENCES tenants (key) ON DELETE CASCADE,
    rules TEXT NOT NULL
) STRICT;
