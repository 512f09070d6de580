-- Nodes and what they own. Every time here is the database's own: nodes' clocks differ.

-- One life of a process.
CREATE TABLE nodes (
    id         BLOB PRIMARY KEY NOT NULL,
    -- How people call it.
    name       TEXT NOT NULL,
    -- Where operators find it.
    url        TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('joining', 'up', 'draining', 'down')),
    started_at INTEGER NOT NULL,
    renewed_at INTEGER NOT NULL,
    -- Its word that it lives holds so long.
    until      INTEGER NOT NULL,
    -- The life of the database in which it took its lock: a restart frees all locks.
    server     INTEGER NOT NULL
);

-- What there may be only one owner of.
CREATE TABLE leases (
    key   TEXT PRIMARY KEY NOT NULL,
    owner BLOB NOT NULL,
    -- Counts owners; a write of an epoch that is over is refused.
    epoch INTEGER NOT NULL,
    -- What the first owner noted.
    value TEXT NOT NULL
);
CREATE INDEX leases_value_idx ON leases (value);

-- A call as its room remembers it: what another node goes on with.
ALTER TABLE calls ADD COLUMN state TEXT;
