//! TLS to PostgreSQL, with the words of libpq's `sslmode`.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;

use crate::error::StoreError;

/// Which certificate of a server will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any: protects from those who listen, not from those who pretend to be the server.
    Anyone,
    /// One that names the host and leads to a root of the system.
    System,
    /// One that names the host and leads to a root in this PEM file.
    File(String),
}

/// What `sslmode` and `sslrootcert` of a URL come to.
pub(super) fn policy(
    mode: Option<&str>,
    root: Option<&str>,
) -> Result<(SslMode, Trust), StoreError> {
    let trust = match root {
        None => None,
        Some("system") => Some(Trust::System),
        Some(path) => Some(Trust::File(path.to_owned())),
    };
    match mode {
        Some("disable") => Ok((SslMode::Disable, Trust::Anyone)),
        // Whoever takes plain text for an answer gains nothing from verifying.
        None | Some("prefer") => Ok((SslMode::Prefer, Trust::Anyone)),
        Some("require") => Ok((SslMode::Require, trust.unwrap_or(Trust::Anyone))),
        Some("verify-ca" | "verify-full") => Ok((SslMode::Require, trust.unwrap_or(Trust::System))),
        Some(other) => Err(StoreError::Internal(format!("no such sslmode: {other}"))),
    }
}

/// The client's side of it.
pub(super) fn config(trust: &Trust) -> Result<ClientConfig, StoreError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::unavailable(&error))?;
    let config = match trust {
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            .with_no_client_auth(),
        Trust::System => builder.with_root_certificates(system()).with_no_client_auth(),
        Trust::File(path) => builder.with_root_certificates(file(path)?).with_no_client_auth(),
    };
    Ok(config)
}

fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn file(path: &str) -> Result<RootCertStore, StoreError> {
    let unreadable = |error: &dyn std::error::Error| {
        StoreError::Unavailable(format!("sslrootcert {path}: {}", crate::error::causes(error)))
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(Path::new(path));
    for certificate in certificates.map_err(|error| unreadable(&error))? {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots.add(certificate).map_err(|error| unreadable(&error))?;
    }
    if roots.is_empty() {
        return Err(StoreError::Unavailable(format!("sslrootcert {path}: no certificate in it")));
    }
    Ok(roots)
}

/// Takes any certificate, as long as the server has its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sslmode_matches_libpq_semantics() {
        let of = |mode, root| policy(mode, root).unwrap();
        assert_eq!(of(Some("disable"), None), (SslMode::Disable, Trust::Anyone));
        assert_eq!(of(None, None), (SslMode::Prefer, Trust::Anyone));
        assert_eq!(of(Some("require"), None), (SslMode::Require, Trust::Anyone));
        assert_eq!(of(Some("require"), Some("system")), (SslMode::Require, Trust::System));
        assert_eq!(of(Some("verify-full"), None), (SslMode::Require, Trust::System));
        let file = Trust::File("ca.pem".into());
        assert_eq!(of(Some("verify-ca"), Some("ca.pem")), (SslMode::Require, file));
        assert!(policy(Some("sometimes"), None).is_err());
    }
}
