-- Message changes, group settings and invites, presence, and search.

ALTER TABLE conversations ADD COLUMN revision BIGINT NOT NULL DEFAULT 0; -- revision of the latest change
ALTER TABLE conversations ADD COLUMN expires_in BIGINT;                  -- seconds
ALTER TABLE conversations ADD COLUMN history TEXT NOT NULL DEFAULT 'since_joining'
    CHECK (history IN ('all', 'since_joining'));
ALTER TABLE conversations ADD COLUMN who_writes TEXT NOT NULL DEFAULT 'members'
    CHECK (who_writes IN ('admins', 'members'));
ALTER TABLE conversations ADD COLUMN who_adds TEXT NOT NULL DEFAULT 'admins'
    CHECK (who_adds IN ('admins', 'members'));

ALTER TABLE members ADD COLUMN visible_seq BIGINT NOT NULL DEFAULT 0; -- messages after it may be read
ALTER TABLE members ADD COLUMN muted_until TIMESTAMPTZ;
ALTER TABLE members ADD COLUMN archived_at TIMESTAMPTZ;
UPDATE members SET visible_seq = joined_seq;

ALTER TABLE messages ADD COLUMN revision BIGINT NOT NULL DEFAULT 0; -- revision of its latest change
ALTER TABLE messages ADD COLUMN edited_at TIMESTAMPTZ;
ALTER TABLE messages ADD COLUMN deleted_at TIMESTAMPTZ;
ALTER TABLE messages ADD COLUMN expires_at TIMESTAMPTZ;
ALTER TABLE messages ADD COLUMN pinned_at TIMESTAMPTZ;
ALTER TABLE messages ADD COLUMN forwarded_from UUID;
ALTER TABLE messages ADD COLUMN mentions JSONB;
ALTER TABLE messages ADD COLUMN system JSONB;
ALTER TABLE messages ADD COLUMN withheld_from UUID; -- user who blocks the sender and never sees the message
CREATE INDEX messages_conversation_id_revision_idx ON messages (conversation_id, revision)
    WHERE revision > 0;
CREATE INDEX messages_expires_at_idx ON messages (expires_at)
    WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX messages_pinned_idx ON messages (conversation_id) WHERE pinned_at IS NOT NULL;

-- Earlier texts of messages.
CREATE TABLE message_edits (
    message_id UUID NOT NULL
        CONSTRAINT message_edits_message_id_fkey REFERENCES messages (id) ON DELETE CASCADE,
    revision   BIGINT NOT NULL, -- revision of the edit that replaced this text
    body       TEXT NOT NULL,
    edited_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (message_id, revision)
);

CREATE TABLE reactions (
    message_id UUID NOT NULL
        CONSTRAINT reactions_message_id_fkey REFERENCES messages (id) ON DELETE CASCADE,
    user_id    UUID NOT NULL CONSTRAINT reactions_user_id_fkey REFERENCES users (id),
    emoji      TEXT NOT NULL,
    reacted_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (message_id, user_id, emoji)
);
CREATE INDEX reactions_user_id_idx ON reactions (user_id);

-- Messages that a user deleted only for themselves.
CREATE TABLE hidden_messages (
    user_id         UUID NOT NULL CONSTRAINT hidden_messages_user_id_fkey REFERENCES users (id),
    message_id      UUID NOT NULL
        CONSTRAINT hidden_messages_message_id_fkey REFERENCES messages (id) ON DELETE CASCADE,
    conversation_id UUID NOT NULL,
    revision        BIGINT NOT NULL,
    PRIMARY KEY (user_id, message_id)
);
CREATE INDEX hidden_messages_user_id_conversation_id_revision_idx
    ON hidden_messages (user_id, conversation_id, revision);
CREATE INDEX hidden_messages_message_id_idx ON hidden_messages (message_id);

CREATE TABLE invites (
    id              UUID PRIMARY KEY,
    conversation_id UUID NOT NULL
        CONSTRAINT invites_conversation_id_fkey REFERENCES conversations (id) ON DELETE CASCADE,
    hash            BYTEA NOT NULL CONSTRAINT invites_hash_key UNIQUE,
    created_by      UUID NOT NULL CONSTRAINT invites_created_by_fkey REFERENCES users (id),
    created_at      TIMESTAMPTZ NOT NULL,
    expires_at      TIMESTAMPTZ NOT NULL,
    uses_left       BIGINT, -- NULL: unlimited
    uses            BIGINT NOT NULL
);
CREATE INDEX invites_conversation_id_idx ON invites (conversation_id);
CREATE INDEX invites_created_by_idx ON invites (created_by);

CREATE TABLE statuses (
    user_id      UUID PRIMARY KEY CONSTRAINT statuses_user_id_fkey REFERENCES users (id),
    state        TEXT NOT NULL CHECK (state IN ('online', 'away', 'offline')),
    text         TEXT NOT NULL,
    last_seen_at TIMESTAMPTZ
);

-- Numbers all searchable messages; a higher number is a later message.
CREATE TABLE search_entries (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id UUID NOT NULL CONSTRAINT search_entries_message_id_key UNIQUE
        CONSTRAINT search_entries_message_id_fkey REFERENCES messages (id) ON DELETE CASCADE,
    words      TSVECTOR NOT NULL -- normalised by our tokenizer
);
CREATE INDEX search_entries_words_idx ON search_entries USING gin (words);
