//! DTLS 1.2 in the server's role (RFC 6347, RFC 5764), with the guards that rtc-dtls needs.

mod association;
mod identity;

pub(crate) use association::{DtlsAssociation, DtlsOutcome};
pub(crate) use identity::fingerprint;
pub use identity::{DtlsCertificate, DtlsCertificateError};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
