//! The embedded STUN and TURN server (RFC 8489, RFC 8656), which relays media for clients that
//! cannot be reached directly.
//!
//! It runs on a thread of its own. A relayed packet costs about 10 µs, so one thread saturates the
//! uplink of one machine; and neither media threads, whose rooms are time-critical, nor the chat
//! actors wait for its packets. A single thread also means that clients need no locks.
//!
//! | file | content |
//! |---|---|
//! | `sockets`, `urls` | listening sockets, and the URLs for clients |
//! | `listeners`, `five_tuple` | datagrams, connections and TLS, split into messages; datagrams of peers |
//! | `clients`, `client` | one cell per 5-tuple, and the checks that run before its relay |
//! | `peers`, `quotas` | which peers clients may reach, and their limits |
//! | `relay`, `proto_relay` | the interface of a relay, and the library that implements it |

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

/// Name of the pool whose one thread relays.
pub const TURN: &str = "turn";
