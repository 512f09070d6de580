DROP TABLE audit_entries;
DROP TABLE signing_keys;
DROP TABLE api_tokens;
DROP TABLE setup_links;
DROP TABLE refresh_tokens;
DROP TABLE devices;
DROP TABLE users;
DROP TABLE counters;
