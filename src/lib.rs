//! SecureVOX, top to bottom. An arrow may only point down; `tests/it/architecture.rs` holds them.
//!
//! ```text
//!   app, cli      put the parts together
//!     ↓
//!   http          answers requests, carries sockets
//!     ↓
//!   actors        what lives
//!     ↓
//!   domain        the rules and the deeds of each area
//!     ↓
//!   cluster       what nodes share
//!   outside       other people's servers
//!     ↓
//!   store         where things are kept                 (crate: diesel lives here)
//!   protocol      what crosses a wire
//!   telemetry     what we say about ourselves
//!   config        settings
//!     ↓
//!   base          words that all use                    (crate)
//!
//!   media         packets in, packets out               (crate: no clock, no socket)
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
pub mod protocol;
pub mod telemetry;
