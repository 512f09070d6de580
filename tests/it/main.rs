//! One test binary; a test reads as a story. The modules below are its table of contents.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "a story has tasks, times and settings of its own")]
#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod support;

mod accounts;
mod architecture;
mod calls;
mod care;
mod chat;
mod config;
mod contacts;
mod documents;
mod limits;
mod messages;
mod model;
mod operators;
mod outages;
mod parting;
mod people;
mod presence;
mod protocol;
mod protocol_calls;
mod protocol_messages;
mod rooms;
mod routes;
mod second_factor;
mod secrets;
mod sessions;
mod supervision;
mod turn;
