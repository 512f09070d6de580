-- Nodes and what they own. All times are those of the database, since the clocks of the nodes differ.

-- One row per run of a node process.
CREATE TABLE nodes (
    id         BLOB PRIMARY KEY NOT NULL,
    -- Name for people.
    name       TEXT NOT NULL,
    -- URL for operators.
    url        TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('joining', 'up', 'draining', 'down')),
    started_at INTEGER NOT NULL,
    renewed_at INTEGER NOT NULL,
    -- End of the lease; every heartbeat extends it.
    until      INTEGER NOT NULL,
    -- Start time of the database server under which the node took its advisory lock: a restart of the server frees all locks.
    server     INTEGER NOT NULL
);

-- Ownership of everything that has exactly one owner.
CREATE TABLE leases (
    key   TEXT PRIMARY KEY NOT NULL,
    owner BLOB NOT NULL,
    -- Counts owners; a write with an older epoch is rejected.
    epoch INTEGER NOT NULL,
    -- Value that the first owner stored.
    value TEXT NOT NULL
);
CREATE INDEX leases_value_idx ON leases (value);

-- State of the call as its room has it, with which another node can continue the call.
ALTER TABLE calls ADD COLUMN state TEXT;
