-- How long sound and video last.

ALTER TABLE attachments ADD COLUMN duration_ms BIGINT;
