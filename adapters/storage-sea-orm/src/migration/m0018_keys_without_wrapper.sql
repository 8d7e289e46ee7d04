INSERT INTO telemetry_keys (device, path)
    SELECT device, substr(path, 8) FROM telemetry_keys WHERE path LIKE 'values._%'
    ON CONFLICT DO NOTHING;
DELETE FROM telemetry_keys WHERE path LIKE 'values._%';
