DROP TABLE call_people;
DROP TABLE calls;
