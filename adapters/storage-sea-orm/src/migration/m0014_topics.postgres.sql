-- Which topics a chunk has, so that the name of a topic goes with its last message. Chunks of an earlier version have no row
-- here until they were looked into.
CREATE TABLE IF NOT EXISTS telemetry_chunk_topics (
    chunk BIGINT NOT NULL REFERENCES telemetry_chunks (key) ON DELETE CASCADE,
    topic BIGINT NOT NULL,
    PRIMARY KEY (chunk, topic)
);
CREATE INDEX IF NOT EXISTS telemetry_chunk_topics_of_topic ON telemetry_chunk_topics (topic);

-- The device that used the topic first, whose topics are counted; NULL for topics of an earlier version.
ALTER TABLE topics ADD COLUMN IF NOT EXISTS device BIGINT;
CREATE INDEX IF NOT EXISTS topics_of_device ON topics (device);
