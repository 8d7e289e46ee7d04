-- Log-ins that a person ended; a row is of no use once the last token of the log-in has expired.
CREATE TABLE ended_logins (
    user_key INTEGER NOT NULL REFERENCES users (key) ON DELETE CASCADE,
    login BLOB NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (user_key, login)
) STRICT, WITHOUT ROWID;
CREATE INDEX ended_logins_until ON ended_logins (until);
