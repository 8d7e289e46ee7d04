-- The fingerprint of the key that the hashes of device tokens were made with: at most one row.
CREATE TABLE IF NOT EXISTS token_key (
    key INTEGER NOT NULL PRIMARY KEY CHECK (key = 1),
    fingerprint BLOB NOT NULL
) STRICT;
