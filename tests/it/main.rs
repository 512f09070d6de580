//! One test binary; a test reads as a story. The modules below are its table of contents.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "a story has tasks, times and settings of its own")]
#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod support;

mod account_security;
mod accounts;
mod admin;
mod architecture;
mod bus;
mod cache;
mod call_limits;
mod call_media;
mod call_records;
mod calls;
mod chat;
mod cluster;
mod config;
mod contacts;
mod corrupt_files;
mod directory;
mod documents;
mod erasure;
mod files;
mod generated_docs;
mod limits;
mod messages;
mod model;
mod outages;
mod pictures;
mod presence;
mod probes;
mod protocol;
mod protocol_accounts;
mod protocol_calls;
mod protocol_cluster;
mod protocol_files;
mod protocol_messages;
mod refusals;
mod rooms;
mod routes;
mod second_factor;
mod secrets;
mod sessions;
mod simulation;
mod storage;
mod supervision;
mod turn;
mod upload_admission;
mod uploads;
mod user_admin;
