-- Calls: one row each, written when the call begins and closed once when it ends.

CREATE TABLE calls (
    id              BLOB PRIMARY KEY NOT NULL,
    conversation_id BLOB
        CONSTRAINT calls_conversation_id_fkey REFERENCES conversations (id),
    -- Name of the room, if the call is joined by name.
    session         TEXT,
    created_by      BLOB NOT NULL CONSTRAINT calls_created_by_fkey REFERENCES users (id),
    media           TEXT NOT NULL CHECK (media IN ('audio', 'video')),
    -- Node that runs the call.
    node            BLOB NOT NULL,
    started_at      INTEGER NOT NULL,
    answered_at     INTEGER,
    ended_at        INTEGER,
    reason          TEXT CHECK (reason IN
        ('hangup', 'declined', 'busy', 'cancelled', 'missed', 'timeout', 'kicked', 'failed')),
    CHECK ((ended_at IS NULL) = (reason IS NULL))
);
-- Calls that are not closed.
CREATE INDEX calls_open_idx ON calls (id) WHERE ended_at IS NULL;

CREATE TABLE call_people (
    call_id   BLOB NOT NULL CONSTRAINT call_people_call_id_fkey REFERENCES calls (id),
    user_id   BLOB NOT NULL CONSTRAINT call_people_user_id_fkey REFERENCES users (id),
    outcome   TEXT NOT NULL CHECK (outcome IN ('called', 'joined', 'declined', 'busy', 'missed')),
    joined_at INTEGER,
    left_at   INTEGER,
    PRIMARY KEY (call_id, user_id)
) WITHOUT ROWID;
-- Call history of a user.
CREATE INDEX call_people_user_id_call_id_idx ON call_people (user_id, call_id);
