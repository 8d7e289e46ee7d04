INSERT INTO telemetry_keys (device, path)
    SELECT device, substr(path, 8) FROM telemetry_keys WHERE substr(path, 1, 7) = 'values.' AND length(path) > 7
    ON CONFLICT DO NOTHING;
DELETE FROM telemetry_keys WHERE substr(path, 1, 7) = 'values.' AND length(path) > 7;
