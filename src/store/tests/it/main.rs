//! Integration tests of the store, each run on both databases.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "concurrent users need a task each")]

mod accounts;
mod api_tokens;
mod calls;
mod change_visibility;
mod changes;
mod chat;
mod cluster;
mod contacts;
mod erasure;
mod files;
mod group_members;
mod harness;
mod invites;
mod jobs;
mod keys;
mod messages;
mod model;
mod outage;
mod presence;
mod search;
mod second_factor;
mod server;
mod sign_in;
mod tls;
mod upkeep;
mod user_admin;
