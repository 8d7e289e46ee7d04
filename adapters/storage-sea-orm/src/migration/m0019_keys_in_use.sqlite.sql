-- Last values of keys that are named without the object around them since.
INSERT INTO telemetry_latest_due SELECT DISTINCT device FROM telemetry_latest
    WHERE substr(path, 1, 7) = x'76616c7565732e' AND length(path) > 7 ON CONFLICT DO NOTHING;
DELETE FROM telemetry_latest WHERE substr(path, 1, 7) = x'76616c7565732e' AND length(path) > 7;

-- Keys of rows that were removed before.
DELETE FROM telemetry_keys
    WHERE device NOT IN (SELECT device FROM telemetry_latest_due) AND instr(path, char(65533)) = 0 AND NOT EXISTS (
        SELECT 1 FROM telemetry_latest
        WHERE telemetry_latest.device = telemetry_keys.device AND telemetry_latest.path = CAST(telemetry_keys.path AS BLOB)
    );
