-- Users, their devices, and the credentials with which they sign in.

-- One row per exact counter; a transaction that changes what is counted locks the row.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
);
INSERT INTO counters (name, value) VALUES ('users', 0), ('keys', 0);

CREATE TABLE users (
    id            BLOB PRIMARY KEY NOT NULL,
    phone         TEXT NOT NULL,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('user', 'admin', 'operator')),
    password_hash TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    suspended_at  INTEGER,
    CONSTRAINT users_phone_key UNIQUE (phone)
);
-- Finds out whether there is an administrator.
CREATE INDEX users_role_idx ON users (role);

CREATE TABLE devices (
    id           BLOB PRIMARY KEY NOT NULL,
    user_id      BLOB NOT NULL CONSTRAINT devices_user_id_fkey REFERENCES users (id),
    name         TEXT NOT NULL,
    platform     TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    revoked_at   INTEGER
);
-- Signed-in devices of a user.
CREATE INDEX devices_user_id_idx ON devices (user_id, id) WHERE revoked_at IS NULL;

CREATE TABLE refresh_tokens (
    hash       BLOB PRIMARY KEY NOT NULL,
    device_id  BLOB NOT NULL CONSTRAINT refresh_tokens_device_id_fkey REFERENCES devices (id),
    successor  BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
);
CREATE INDEX refresh_tokens_expires_at_idx ON refresh_tokens (expires_at);

CREATE TABLE setup_links (
    hash       BLOB PRIMARY KEY NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE TABLE api_tokens (
    id           BLOB PRIMARY KEY NOT NULL,
    name         TEXT NOT NULL,
    hash         BLOB NOT NULL,
    scopes       TEXT NOT NULL,
    created_by   BLOB CONSTRAINT api_tokens_created_by_fkey REFERENCES users (id),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER,
    CONSTRAINT api_tokens_hash_key UNIQUE (hash)
);

CREATE TABLE signing_keys (
    id         BLOB PRIMARY KEY NOT NULL,
    private    BLOB NOT NULL,
    public     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER
);

CREATE TABLE audit_entries (
    id      BLOB PRIMARY KEY NOT NULL, -- ordered by time: the newest entries are read from the end
    at      INTEGER NOT NULL,
    actor   BLOB CONSTRAINT audit_entries_actor_fkey REFERENCES users (id),
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL,
    ip      TEXT
);
