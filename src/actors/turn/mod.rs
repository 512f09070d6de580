//! The embedded STUN and TURN server (RFC 8489, RFC 8656): relays for those whom nobody can reach.
//!
//! It lives on a thread of its own. A relayed packet costs about 10 µs, so that one thread carries
//! what the line of one machine carries; and neither media threads, whose rooms must be in time,
//! nor the actors of chat wait for packets that are none of theirs. One thread also means that
//! clients need no locks.
//!
//! | file | idea |
//! |---|---|
//! | `sockets`, `urls` | where it listens, and as what clients know that |
//! | `carriers` | datagrams, connections and TLS, cut into messages; what peers send |
//! | `clients`, `client` | one cell for each 5-tuple, and what we decide before its relay does |
//! | `peers`, `quotas` | whom they may reach, and how much they may have |
//! | `relay`, `library` | what a relay is to us, and the library that is one |

mod client;
mod clients;
mod context;
mod five_tuple;
mod listeners;
mod message;
mod peers;
mod port;
mod proto_relay;
mod quotas;
mod relay;
mod server;
mod sockets;
mod urls;

#[cfg(test)]
mod tests;

pub use server::{TurnServer, TurnServerConfig};
pub use sockets::TurnSockets;
pub use urls::urls;

/// The pool whose one thread relays.
pub const TURN: &str = "turn";
