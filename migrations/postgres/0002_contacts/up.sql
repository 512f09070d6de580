-- Contacts and blocks.

-- Two rows per pair of users, one as each of them sees it.
CREATE TABLE contacts (
    user_id  UUID NOT NULL CONSTRAINT contacts_user_id_fkey REFERENCES users (id),
    other_id UUID NOT NULL CONSTRAINT contacts_other_id_fkey REFERENCES users (id),
    state    TEXT NOT NULL CHECK (state IN ('pending_out', 'pending_in', 'accepted')),
    since    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, other_id)
);

CREATE TABLE blocks (
    user_id  UUID NOT NULL CONSTRAINT blocks_user_id_fkey REFERENCES users (id),
    other_id UUID NOT NULL CONSTRAINT blocks_other_id_fkey REFERENCES users (id),
    since    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, other_id)
);
