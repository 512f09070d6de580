-- Second factors, password resets, account deletion, and background jobs.

ALTER TABLE users ADD COLUMN deleted_at TIMESTAMPTZ;
ALTER TABLE devices ADD COLUMN last_ip TEXT;
ALTER TABLE devices ADD COLUMN user_agent TEXT;

CREATE TABLE second_factors (
    user_id      UUID PRIMARY KEY NOT NULL
        CONSTRAINT second_factors_user_id_fkey REFERENCES users (id),
    secret       BYTEA NOT NULL, -- sealed
    created_at   TIMESTAMPTZ NOT NULL,
    confirmed_at TIMESTAMPTZ,
    -- Time step (RFC 6238) of the latest accepted code: this one and all earlier ones are used up.
    last_step    BIGINT
);

CREATE TABLE recovery_codes (
    user_id UUID NOT NULL CONSTRAINT recovery_codes_user_id_fkey REFERENCES users (id),
    hash    BYTEA NOT NULL,
    PRIMARY KEY (user_id, hash)
);

CREATE TABLE reset_links (
    hash BYTEA PRIMARY KEY NOT NULL,
    user_id UUID NOT NULL CONSTRAINT reset_links_user_id_fkey REFERENCES users (id),
    drops_second_factor BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX reset_links_user_id_idx ON reset_links (user_id);

CREATE TABLE jobs (
    id         UUID PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL,
    user_id    UUID CONSTRAINT jobs_user_id_fkey REFERENCES users (id), -- the user whom it concerns
    payload    JSONB NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'dead')),
    -- Counts the leases; the number of a lease is its fencing token.
    attempts   BIGINT NOT NULL,
    -- When a worker may claim it: the due time while it waits, the end of the lease while it runs.
    due_at     TIMESTAMPTZ NOT NULL,
    failure    TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    ended_at   TIMESTAMPTZ
);
CREATE INDEX jobs_due_at_idx ON jobs (due_at) WHERE ended_at IS NULL;
CREATE INDEX jobs_user_id_idx ON jobs (user_id);
CREATE INDEX jobs_ended_at_idx ON jobs (ended_at);

CREATE TABLE exports (
    id         UUID PRIMARY KEY NOT NULL, -- the id of its job
    user_id    UUID NOT NULL CONSTRAINT exports_user_id_fkey REFERENCES users (id),
    size       BIGINT,
    created_at TIMESTAMPTZ NOT NULL,
    ready_at   TIMESTAMPTZ,
    expires_at TIMESTAMPTZ,
    CONSTRAINT exports_user_id_key UNIQUE (user_id) -- one at a time
);
CREATE INDEX exports_expires_at_idx ON exports (expires_at);

CREATE INDEX audit_entries_actor_id_idx ON audit_entries (actor, id);
CREATE INDEX audit_entries_subject_id_idx ON audit_entries (subject, id);
CREATE INDEX audit_entries_action_id_idx ON audit_entries (action, id);
CREATE INDEX calls_created_by_idx ON calls (created_by);
CREATE INDEX calls_conversation_id_idx ON calls (conversation_id);
