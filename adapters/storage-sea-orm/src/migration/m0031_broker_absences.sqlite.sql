-- Broker processes that are gone without having said so, and since when, by the time of the database. Their rows in
-- device_presence do not count.
CREATE TABLE broker_absences (
    key INTEGER PRIMARY KEY,
    node TEXT NOT NULL UNIQUE,
    since INTEGER NOT NULL
) STRICT;
