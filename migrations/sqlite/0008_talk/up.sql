-- Message changes, group settings and invites, presence, and search.

ALTER TABLE conversations ADD COLUMN revision INTEGER NOT NULL DEFAULT 0; -- revision of the latest change
ALTER TABLE conversations ADD COLUMN expires_in INTEGER;                  -- seconds
ALTER TABLE conversations ADD COLUMN history TEXT NOT NULL DEFAULT 'since_joining'
    CHECK (history IN ('all', 'since_joining'));
ALTER TABLE conversations ADD COLUMN who_writes TEXT NOT NULL DEFAULT 'members'
    CHECK (who_writes IN ('admins', 'members'));
ALTER TABLE conversations ADD COLUMN who_adds TEXT NOT NULL DEFAULT 'admins'
    CHECK (who_adds IN ('admins', 'members'));

ALTER TABLE members ADD COLUMN visible_seq INTEGER NOT NULL DEFAULT 0; -- messages after it may be read
ALTER TABLE members ADD COLUMN muted_until INTEGER;
ALTER TABLE members ADD COLUMN archived_at INTEGER;
UPDATE members SET visible_seq = joined_seq;

ALTER TABLE messages ADD COLUMN revision INTEGER NOT NULL DEFAULT 0; -- revision of its latest change
ALTER TABLE messages ADD COLUMN edited_at INTEGER;
ALTER TABLE messages ADD COLUMN deleted_at INTEGER;
ALTER TABLE messages ADD COLUMN expires_at INTEGER;
ALTER TABLE messages ADD COLUMN pinned_at INTEGER;
ALTER TABLE messages ADD COLUMN forwarded_from BLOB;
ALTER TABLE messages ADD COLUMN mentions TEXT;
ALTER TABLE messages ADD COLUMN system TEXT;
ALTER TABLE messages ADD COLUMN withheld_from BLOB; -- user who blocks the sender and never sees the message
CREATE INDEX messages_conversation_id_revision_idx ON messages (conversation_id, revision)
    WHERE revision > 0;
CREATE INDEX messages_expires_at_idx ON messages (expires_at)
    WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX messages_pinned_idx ON messages (conversation_id) WHERE pinned_at IS NOT NULL;

-- Earlier texts of messages.
CREATE TABLE message_edits (
    message_id BLOB NOT NULL
        CONSTRAINT message_edits_message_id_fkey REFERENCES messages (id) ON DELETE CASCADE,
    revision   INTEGER NOT NULL, -- revision of the edit that replaced this text
    body       TEXT NOT NULL,
    edited_at  INTEGER NOT NULL,
    PRIMARY KEY (message_id, revision)
) WITHOUT ROWID;

CREATE TABLE reactions (
    message_id BLOB NOT NULL
        CONSTRAINT reactions_message_id_fkey REFERENCES messages (id) ON DELETE CASCADE,
    user_id    BLOB NOT NULL CONSTRAINT reactions_user_id_fkey REFERENCES users (id),
    emoji      TEXT NOT NULL,
    reacted_at INTEGER NOT NULL,
    PRIMARY KEY (message_id, user_id, emoji)
) WITHOUT ROWID;
CREATE INDEX reactions_user_id_idx ON reactions (user_id);

-- Messages that a user deleted only for themselves.
CREATE TABLE hidden_messages (
    user_id         BLOB NOT NULL CONSTRAINT hidden_messages_user_id_fkey REFERENCES users (id),
    message_id      BLOB NOT NULL
        CONSTRAINT hidden_messages_message_id_fkey REFERENCES messages (id) ON DELETE CASCADE,
    conversation_id BLOB NOT NULL,
    revision        INTEGER NOT NULL,
    PRIMARY KEY (user_id, message_id)
) WITHOUT ROWID;
CREATE INDEX hidden_messages_user_id_conversation_id_revision_idx
    ON hidden_messages (user_id, conversation_id, revision);
CREATE INDEX hidden_messages_message_id_idx ON hidden_messages (message_id);

CREATE TABLE invites (
    id              BLOB PRIMARY KEY NOT NULL,
    conversation_id BLOB NOT NULL
        CONSTRAINT invites_conversation_id_fkey REFERENCES conversations (id) ON DELETE CASCADE,
    hash            BLOB NOT NULL CONSTRAINT invites_hash_key UNIQUE,
    created_by      BLOB NOT NULL CONSTRAINT invites_created_by_fkey REFERENCES users (id),
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    uses_left       INTEGER, -- NULL: unlimited
    uses            INTEGER NOT NULL
);
CREATE INDEX invites_conversation_id_idx ON invites (conversation_id);
CREATE INDEX invites_created_by_idx ON invites (created_by);

CREATE TABLE statuses (
    user_id      BLOB PRIMARY KEY NOT NULL CONSTRAINT statuses_user_id_fkey REFERENCES users (id),
    state        TEXT NOT NULL CHECK (state IN ('online', 'away', 'offline')),
    text         TEXT NOT NULL,
    last_seen_at INTEGER
);

-- Numbers all searchable messages; a higher number is a later message.
CREATE TABLE search_entries (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id      BLOB NOT NULL CONSTRAINT search_entries_message_id_key UNIQUE
        CONSTRAINT search_entries_message_id_fkey REFERENCES messages (id) ON DELETE CASCADE
);
-- Words of the messages, normalised by our tokenizer; rowid is that number. Deleted words leave the file (secure-delete).
CREATE VIRTUAL TABLE search_words USING fts5 (words, tokenize = 'ascii', detail = 'none');
INSERT INTO search_words (search_words, rank) VALUES ('secure-delete', 1);
CREATE TRIGGER search_entries_deleted AFTER DELETE ON search_entries BEGIN
    DELETE FROM search_words WHERE rowid = old.id;
END;
