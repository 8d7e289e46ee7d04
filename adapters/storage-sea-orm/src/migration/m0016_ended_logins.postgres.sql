-- Log-ins that a person ended; a row is of no use once the last token of the log-in has expired.
CREATE TABLE IF NOT EXISTS ended_logins (
    user_key BIGINT NOT NULL REFERENCES users (key) ON DELETE CASCADE,
    login UUID NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (user_key, login)
);
CREATE INDEX IF NOT EXISTS ended_logins_until ON ended_logins (until);
