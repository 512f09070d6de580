-- A call from a blocked user is withheld from the history of the user who blocks.

ALTER TABLE call_people ADD COLUMN withheld BOOLEAN NOT NULL DEFAULT FALSE;
