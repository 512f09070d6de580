-- Conversations, their members and messages, and notifications that are still to be delivered.

CREATE TABLE conversations (
    id          BLOB PRIMARY KEY NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('direct', 'group')),
    title       TEXT,
    encryption  TEXT NOT NULL CHECK (encryption IN ('none', 'mls')),
    last_seq    INTEGER NOT NULL,
    roster      INTEGER NOT NULL,
    created_by  BLOB NOT NULL CONSTRAINT conversations_created_by_fkey REFERENCES users (id),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    -- Both users of a direct conversation, the lower id first: two users have at most one.
    direct_low  BLOB,
    direct_high BLOB,
    CHECK ((kind = 'direct') = (direct_low IS NOT NULL AND direct_high IS NOT NULL)),
    CONSTRAINT conversations_direct_low_direct_high_key UNIQUE (direct_low, direct_high)
);

CREATE TABLE members (
    conversation_id BLOB NOT NULL
        CONSTRAINT members_conversation_id_fkey REFERENCES conversations (id),
    user_id         BLOB NOT NULL CONSTRAINT members_user_id_fkey REFERENCES users (id),
    role            TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    joined_seq      INTEGER NOT NULL,
    delivered_seq   INTEGER NOT NULL,
    read_seq        INTEGER NOT NULL,
    joined_at       INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) WITHOUT ROWID;
-- Conversations of a user.
CREATE INDEX members_user_id_conversation_id_idx ON members (user_id, conversation_id);

CREATE TABLE messages (
    id              BLOB PRIMARY KEY NOT NULL,
    conversation_id BLOB NOT NULL
        CONSTRAINT messages_conversation_id_fkey REFERENCES conversations (id),
    seq             INTEGER NOT NULL,
    sender_id       BLOB NOT NULL CONSTRAINT messages_sender_id_fkey REFERENCES users (id),
    client_id       TEXT NOT NULL,
    body            TEXT NOT NULL,
    reply_to        BLOB,
    sent_at         INTEGER NOT NULL,
    CONSTRAINT messages_conversation_id_seq_key UNIQUE (conversation_id, seq),
    CONSTRAINT messages_conversation_id_sender_id_client_id_key
        UNIQUE (conversation_id, sender_id, client_id)
);

-- Notifications that are still to be delivered, written in the transaction that caused them.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    topic      TEXT NOT NULL,
    payload    TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX outbox_created_at_idx ON outbox (created_at);
