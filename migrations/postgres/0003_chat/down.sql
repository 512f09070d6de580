DROP TABLE outbox;
DROP TABLE messages;
DROP TABLE members;
DROP TABLE conversations;
