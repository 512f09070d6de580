//! SecureVOX, top to bottom. Dependencies point down only; `tests/it/architecture.rs` enforces it.
//!
//! ```text
//!   app, cli      composition root and command line
//!     ↓
//!   http          HTTP handlers, sockets of clients
//!     ↓
//!   actors        supervised actors: sessions, chat shards, call rooms, media, TURN, jobs
//!     ↓
//!   domain        rules and operations of each area
//!     ↓
//!   cluster       bus, ownership directory and cache of the nodes
//!   integrations  other people's servers (object storage)
//!     ↓
//!   store         database                                (crate: diesel)
//!   protocol      wire types
//!   telemetry     logs and metrics
//!   config        settings
//!     ↓
//!   limits        every fixed bound of this crate
//!   base          ids, clock, random, secrets, errors     (crate)
//!
//!   media         the SFU as a value                      (crate: no clock, no socket)
//! ```

#[cfg(not(panic = "unwind"))]
compile_error!("supervision is catching panics: build with panic = \"unwind\"");

pub mod actors;
pub mod app;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod domain;
pub mod http;
pub mod integrations;
mod limits;
pub mod protocol;
pub mod telemetry;
