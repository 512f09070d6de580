//! DTLS 1.2 as server (RFC 6347, RFC 5764), with the safeguards that rtc-dtls needs.

mod association;
mod identity;

pub(crate) use association::{DtlsAssociation, DtlsOutcome};
pub(crate) use identity::fingerprint;
pub use identity::{DtlsCertificate, DtlsCertificateError};

/// Maximum duration of a handshake.
const HANDSHAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
