-- Users, their devices, and the credentials with which they sign in.

-- One row per exact counter; a transaction that changes what is counted locks the row.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('users', 0), ('keys', 0);

CREATE TABLE users (
    id            UUID PRIMARY KEY,
    phone         TEXT NOT NULL,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('user', 'admin', 'operator')),
    password_hash TEXT NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    suspended_at  TIMESTAMPTZ,
    CONSTRAINT users_phone_key UNIQUE (phone)
);
-- Finds out whether there is an administrator.
CREATE INDEX users_role_idx ON users (role);

CREATE TABLE devices (
    id           UUID PRIMARY KEY,
    user_id      UUID NOT NULL CONSTRAINT devices_user_id_fkey REFERENCES users (id),
    name         TEXT NOT NULL,
    platform     TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL,
    revoked_at   TIMESTAMPTZ
);
-- Signed-in devices of a user.
CREATE INDEX devices_user_id_idx ON devices (user_id, id) WHERE revoked_at IS NULL;

CREATE TABLE refresh_tokens (
    hash       BYTEA PRIMARY KEY,
    device_id  UUID NOT NULL CONSTRAINT refresh_tokens_device_id_fkey REFERENCES devices (id),
    successor  BYTEA,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    used_at    TIMESTAMPTZ
);
CREATE INDEX refresh_tokens_expires_at_idx ON refresh_tokens (expires_at);

CREATE TABLE setup_links (
    hash       BYTEA PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE api_tokens (
    id           UUID PRIMARY KEY,
    name         TEXT NOT NULL,
    hash         BYTEA NOT NULL,
    scopes       JSONB NOT NULL,
    created_by   UUID CONSTRAINT api_tokens_created_by_fkey REFERENCES users (id),
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ,
    revoked_at   TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ,
    CONSTRAINT api_tokens_hash_key UNIQUE (hash)
);

CREATE TABLE signing_keys (
    id         UUID PRIMARY KEY,
    private    BYTEA NOT NULL,
    public     BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    retired_at TIMESTAMPTZ
);

CREATE TABLE audit_entries (
    id      UUID PRIMARY KEY, -- ordered by time: the newest entries are read from the end
    at      TIMESTAMPTZ NOT NULL,
    actor   UUID CONSTRAINT audit_entries_actor_fkey REFERENCES users (id),
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  JSONB NOT NULL,
    ip      TEXT
);
