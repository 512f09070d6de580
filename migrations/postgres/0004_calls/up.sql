-- Calls: one row each, written when the call begins and closed once when it ends.

CREATE TABLE calls (
    id              UUID PRIMARY KEY,
    conversation_id UUID
        CONSTRAINT calls_conversation_id_fkey REFERENCES conversations (id),
    -- Name of the room, if the call is joined by name.
    session         TEXT,
    created_by      UUID NOT NULL CONSTRAINT calls_created_by_fkey REFERENCES users (id),
    media           TEXT NOT NULL CHECK (media IN ('audio', 'video')),
    -- Node that runs the call.
    node            UUID NOT NULL,
    started_at      TIMESTAMPTZ NOT NULL,
    answered_at     TIMESTAMPTZ,
    ended_at        TIMESTAMPTZ,
    reason          TEXT CHECK (reason IN
        ('hangup', 'declined', 'busy', 'cancelled', 'missed', 'timeout', 'kicked', 'failed')),
    CHECK ((ended_at IS NULL) = (reason IS NULL))
);
-- Calls that are not closed.
CREATE INDEX calls_open_idx ON calls (id) WHERE ended_at IS NULL;

CREATE TABLE call_people (
    call_id   UUID NOT NULL CONSTRAINT call_people_call_id_fkey REFERENCES calls (id),
    user_id   UUID NOT NULL CONSTRAINT call_people_user_id_fkey REFERENCES users (id),
    outcome   TEXT NOT NULL CHECK (outcome IN ('called', 'joined', 'declined', 'busy', 'missed')),
    joined_at TIMESTAMPTZ,
    left_at   TIMESTAMPTZ,
    PRIMARY KEY (call_id, user_id)
);
-- Call history of a user.
CREATE INDEX call_people_user_id_call_id_idx ON call_people (user_id, call_id);
