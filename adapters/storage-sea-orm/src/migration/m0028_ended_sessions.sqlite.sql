-- Of an entry about a session of a device that ends: which one.
ALTER TABLE access_changes ADD COLUMN client INTEGER;
