-- Files: their bytes (once for the same content), what they are to people, and uploads under way.

CREATE TABLE blobs (
    id    BLOB PRIMARY KEY NOT NULL, -- part of its name in storage: never used a second time
    hash  BLOB NOT NULL,             -- SHA-256
    size  INTEGER NOT NULL,
    -- coming: being put into storage. here: it is there. going: nobody refers to it any more.
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
    -- Until when it waits for a message; NULL once one carries it.
    expires_at   INTEGER
);
CREATE INDEX attachments_owner_id_idx ON attachments (owner_id, id);
CREATE INDEX attachments_blob_id_idx ON attachments (blob_id);
CREATE INDEX attachments_thumbnail_id_idx ON attachments (thumbnail_id);
CREATE INDEX attachments_expires_at_idx ON attachments (expires_at) WHERE expires_at IS NOT NULL;

-- No cascade: whoever removes a message releases its files, so that none is left without owner.
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
    attachment_id BLOB, -- what became of it
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
);
CREATE INDEX uploads_owner_id_idx ON uploads (owner_id);
CREATE INDEX uploads_expires_at_idx ON uploads (expires_at);
