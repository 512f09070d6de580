-- Conversations, their members and messages, and notifications that are still to be delivered.

CREATE TABLE conversations (
    id          UUID PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('direct', 'group')),
    title       TEXT,
    encryption  TEXT NOT NULL CHECK (encryption IN ('none', 'mls')),
    last_seq    BIGINT NOT NULL,
    roster      BIGINT NOT NULL,
    created_by  UUID NOT NULL CONSTRAINT conversations_created_by_fkey REFERENCES users (id),
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL,
    -- Both users of a direct conversation, the lower id first: two users have at most one.
    direct_low  UUID,
    direct_high UUID,
    CHECK ((kind = 'direct') = (direct_low IS NOT NULL AND direct_high IS NOT NULL)),
    CONSTRAINT conversations_direct_low_direct_high_key UNIQUE (direct_low, direct_high)
);

CREATE TABLE members (
    conversation_id UUID NOT NULL
        CONSTRAINT members_conversation_id_fkey REFERENCES conversations (id),
    user_id         UUID NOT NULL CONSTRAINT members_user_id_fkey REFERENCES users (id),
    role            TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    joined_seq      BIGINT NOT NULL,
    delivered_seq   BIGINT NOT NULL,
    read_seq        BIGINT NOT NULL,
    joined_at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
);
-- Conversations of a user.
CREATE INDEX members_user_id_conversation_id_idx ON members (user_id, conversation_id);

CREATE TABLE messages (
    id              UUID PRIMARY KEY,
    conversation_id UUID NOT NULL
        CONSTRAINT messages_conversation_id_fkey REFERENCES conversations (id),
    seq             BIGINT NOT NULL,
    sender_id       UUID NOT NULL CONSTRAINT messages_sender_id_fkey REFERENCES users (id),
    client_id       TEXT NOT NULL,
    body            TEXT NOT NULL,
    reply_to        UUID,
    sent_at         TIMESTAMPTZ NOT NULL,
    CONSTRAINT messages_conversation_id_seq_key UNIQUE (conversation_id, seq),
    CONSTRAINT messages_conversation_id_sender_id_client_id_key
        UNIQUE (conversation_id, sender_id, client_id)
);

-- Notifications that are still to be delivered, written in the transaction that caused them.
CREATE TABLE outbox (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic      TEXT NOT NULL,
    payload    JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX outbox_created_at_idx ON outbox (created_at);
