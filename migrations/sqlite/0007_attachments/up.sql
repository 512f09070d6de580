-- Files: blobs (once per content), attachments, and uploads in progress.

CREATE TABLE blobs (
    id    BLOB PRIMARY KEY NOT NULL, -- part of the blob key in storage: never reused
    hash  BLOB NOT NULL,             -- SHA-256
    size  INTEGER NOT NULL,
    -- coming: being uploaded to storage. here: stored. going: no longer referenced, to be removed.
    state TEXT NOT NULL CHECK (state IN ('coming', 'here', 'going')),
    since INTEGER NOT NULL
);
CREATE UNIQUE INDEX blobs_hash_key ON blobs (hash) WHERE state <> 'going';
CREATE INDEX blobs_state_since_idx ON blobs (state, since) WHERE state <> 'here';

CREATE TABLE attachments (
    id           BLOB PRIMARY KEY NOT NULL,
    owner_id     BLOB NOT NULL CONSTRAINT attachments_owner_id_fkey REFERENCES users (id),
    blob_id      BLOB NOT NULL CONSTRAINT attachments_blob_id_fkey REFERENCES blobs (id),
    thumbnail_id BLOB CONSTRAINT attachments_thumbnail_id_fkey REFERENCES blobs (id),
    name         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size         INTEGER NOT NULL,
    width        INTEGER,
    height       INTEGER,
    created_at   INTEGER NOT NULL,
    -- When it is removed if no message uses it; NULL once one does.
    expires_at   INTEGER
);
CREATE INDEX attachments_owner_id_idx ON attachments (owner_id, id);
CREATE INDEX attachments_blob_id_idx ON attachments (blob_id);
CREATE INDEX attachments_thumbnail_id_idx ON attachments (thumbnail_id);
CREATE INDEX attachments_expires_at_idx ON attachments (expires_at) WHERE expires_at IS NOT NULL;

-- No cascade: code that removes a message must release its attachments first, so that no file is orphaned.
CREATE TABLE message_attachments (
    message_id    BLOB NOT NULL
        CONSTRAINT message_attachments_message_id_fkey REFERENCES messages (id),
    position      INTEGER NOT NULL,
    attachment_id BLOB NOT NULL
        CONSTRAINT message_attachments_attachment_id_fkey REFERENCES attachments (id),
    PRIMARY KEY (message_id, position)
) WITHOUT ROWID;
CREATE INDEX message_attachments_attachment_id_idx ON message_attachments (attachment_id);

CREATE TABLE uploads (
    id            BLOB PRIMARY KEY NOT NULL,
    owner_id      BLOB NOT NULL CONSTRAINT uploads_owner_id_fkey REFERENCES users (id),
    purpose       TEXT NOT NULL,
    name          TEXT NOT NULL,
    size          INTEGER NOT NULL,
    attachment_id BLOB, -- the attachment that was created from it
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
);
CREATE INDEX uploads_owner_id_idx ON uploads (owner_id);
CREATE INDEX uploads_expires_at_idx ON uploads (expires_at);
