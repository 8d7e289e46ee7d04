-- Broker processes that are gone without having said so, and since when, by the time of the database. Their rows in
-- device_presence do not count.
CREATE TABLE IF NOT EXISTS broker_absences (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node TEXT NOT NULL UNIQUE,
    since BIGINT NOT NULL
);
