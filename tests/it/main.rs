//! One test binary; a test reads as a story. The modules below are its table of contents.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "a story has tasks, times and settings of its own")]
#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod support;

mod accounts;
mod architecture;
mod bus;
mod cache;
mod call_limits;
mod call_media;
mod call_records;
mod calls;
mod care;
mod chat;
mod cluster;
mod config;
mod contacts;
mod directory;
mod documents;
mod files;
mod limits;
mod messages;
mod model;
mod operators;
mod outages;
mod parting;
mod people;
mod pictures;
mod places;
mod presence;
mod probes;
mod protocol;
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
mod torn;
mod turn;
mod uploads;
