-- One row for each writer of batches: which process has it, and the number of its last batch. Each commit moves it on in its own
-- transaction, so the row tells what became of a commit whose answer was lost. A SQLite file keeps the numbers in
-- sqlite_sequence, whose page every append writes anyway.
CREATE TABLE IF NOT EXISTS writers (
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- Whether it is a broker, whose row stays; others have a row as long as they run.
    lasts BOOLEAN NOT NULL,
    -- The process that has it: a random number.
    owner BIGINT NOT NULL,
    -- Grows whenever the row is taken, also by the same process.
    term BIGINT NOT NULL,
    number BIGINT NOT NULL,
    used_at TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
