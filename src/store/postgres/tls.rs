//! TLS to PostgreSQL, configured by the values of libpq's `sslmode`.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;

use crate::error::StoreError;

/// Which server certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any: protects against eavesdropping, not against impersonation of the server.
    AnyCertificate,
    /// One that names the host and chains to a root of the system.
    SystemRoots,
    /// One that names the host and chains to a root in this PEM file.
    PemFile(String),
}

/// The meaning of a URL's `sslmode` and `sslrootcert`.
pub(super) fn policy(
    mode: Option<&str>,
    root: Option<&str>,
) -> Result<(SslMode, Trust), StoreError> {
    let trust = match root {
        None => None,
        Some("system") => Some(Trust::SystemRoots),
        Some(path) => Some(Trust::PemFile(path.to_owned())),
    };
    match mode {
        Some("disable") => Ok((SslMode::Disable, Trust::AnyCertificate)),
        // Whoever accepts an unencrypted connection gains nothing from verification.
        None | Some("prefer") => Ok((SslMode::Prefer, Trust::AnyCertificate)),
        Some("require") => Ok((SslMode::Require, trust.unwrap_or(Trust::AnyCertificate))),
        Some("verify-ca" | "verify-full") => {
            Ok((SslMode::Require, trust.unwrap_or(Trust::SystemRoots)))
        }
        Some(other) => Err(StoreError::Internal(format!("unknown sslmode: {other}"))),
    }
}

/// The TLS client configuration for a trust policy.
pub(super) fn config(trust: &Trust) -> Result<ClientConfig, StoreError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::unavailable(&error))?;
    let config = match trust {
        Trust::AnyCertificate => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            .with_no_client_auth(),
        Trust::SystemRoots => builder.with_root_certificates(system_roots()).with_no_client_auth(),
        Trust::PemFile(path) => {
            builder.with_root_certificates(pem_roots(path)?).with_no_client_auth()
        }
    };
    Ok(config)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn pem_roots(path: &str) -> Result<RootCertStore, StoreError> {
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
        return Err(StoreError::Unavailable(format!(
            "sslrootcert {path}: contains no certificate"
        )));
    }
    Ok(roots)
}

/// Accepts any certificate, as long as the server proves to have its key.
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
        assert_eq!(of(Some("disable"), None), (SslMode::Disable, Trust::AnyCertificate));
        assert_eq!(of(None, None), (SslMode::Prefer, Trust::AnyCertificate));
        assert_eq!(of(Some("require"), None), (SslMode::Require, Trust::AnyCertificate));
        assert_eq!(of(Some("require"), Some("system")), (SslMode::Require, Trust::SystemRoots));
        assert_eq!(of(Some("verify-full"), None), (SslMode::Require, Trust::SystemRoots));
        let file = Trust::PemFile("ca.pem".into());
        assert_eq!(of(Some("verify-ca"), Some("ca.pem")), (SslMode::Require, file));
        assert!(policy(Some("sometimes"), None).is_err());
    }
}
