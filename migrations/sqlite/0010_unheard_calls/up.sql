-- A call is kept from somebody who blocks whoever called them: their history does not have it.

ALTER TABLE call_people ADD COLUMN withheld BOOLEAN NOT NULL DEFAULT FALSE;
