ALTER TABLE call_people DROP COLUMN withheld;
