-- Duration of audio and video.

ALTER TABLE attachments ADD COLUMN duration_ms INTEGER;
