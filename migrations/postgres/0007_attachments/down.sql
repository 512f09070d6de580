DROP TABLE uploads;
DROP TABLE message_attachments;
DROP TABLE attachments;
DROP TABLE blobs;
