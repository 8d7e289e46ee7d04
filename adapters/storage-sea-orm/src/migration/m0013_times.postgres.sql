-- What a process knows about time, for the next one of its node: the wall clock may be wrong when that starts.
CREATE TABLE IF NOT EXISTS time_marks (
    node TEXT NOT NULL PRIMARY KEY,
    trusted BIGINT NOT NULL,
    proven BIGINT NOT NULL,
    steady BIGINT NOT NULL,
    wall BIGINT NOT NULL
);

-- Each tenant has a bound of its own.
CREATE INDEX IF NOT EXISTS dead_letters_of_tenant ON dead_letters (tenant, key);
