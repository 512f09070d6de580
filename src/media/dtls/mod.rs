//! DTLS 1.2 in the server's role (RFC 6347, RFC 5764), with the guards that rtc-dtls needs.

mod association;
mod identity;

pub(crate) use association::{Association, Outcome};
pub(crate) use identity::fingerprint;
pub use identity::{Identity, IdentityError};

/// How long a handshake may take.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(15);
