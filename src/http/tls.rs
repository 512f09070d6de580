//! TLS of the server from PEM files; not needed behind a TLS-terminating proxy.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::HttpConfig;

/// TLS configuration, or `None` if it is not configured.
///
/// # Errors
/// A message with the file that cannot be used and the reason.
pub fn tls(config: &HttpConfig) -> Result<Option<ServerConfig>, String> {
    if !config.has_tls() {
        return Ok(None);
    }
    let chain = load_chain(&config.tls_certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(&config.tls_key_file)
        .map_err(|error| file_error(&config.tls_key_file, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            format!("http.tls_certificate_file and http.tls_key_file do not match: {error}")
        })?;
    Ok(Some(tls))
}

fn load_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| file_error(path, &e))?;
    let chain: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|e| file_error(path, &e))?;
    if chain.is_empty() {
        Err(format!("{} contains no certificate", path.display()))
    } else {
        Ok(chain)
    }
}

fn file_error(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{} cannot be used: {error}", path.display())
}
