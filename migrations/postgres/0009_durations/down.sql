ALTER TABLE attachments DROP COLUMN duration_ms;
