//! The certificate with which a node's rooms prove who they are in DTLS.

use rtc_crypto::{HashAlgorithm, RTCCryptoProvider};
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use std::fmt;
use std::sync::Arc;

use super::HANDSHAKE_TIMEOUT;

/// A self-signed certificate and what is negotiated with it; made once per node, since the fingerprint
/// in the answer binds it to each session (RFC 8122).
pub struct DtlsCertificate {
    provider: Arc<dyn RTCCryptoProvider>,
    fingerprint: String,
    /// In the order of our preference. rtc-dtls takes the first profile that the *client* lists and
    /// the server accepts, so each configuration names one only.
    pub(super) configurations: Vec<Arc<HandshakeConfig>>,
}

/// Why there is no identity: the crypto provider cannot do what is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DtlsCertificateError(String);

impl fmt::Display for DtlsCertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no DTLS certificate: {}", self.0)
    }
}

impl std::error::Error for DtlsCertificateError {}

impl DtlsCertificate {
    /// Makes a new P-256 key and certificate.
    ///
    /// # Errors
    /// [`DtlsCertificateError`], if there is no randomness or no provider of cryptography.
    pub fn generate() -> Result<Self, DtlsCertificateError> {
        let wrong = |error: &dyn fmt::Display| DtlsCertificateError(error.to_string());
        let provider = rtc_crypto::default_provider().map_err(|error| wrong(&error))?;
        let certificate =
            Certificate::generate_self_signed(vec!["media".to_owned()], provider.crypto())
                .map_err(|error| wrong(&error))?;
        let der = certificate.certificate.first().map_or(&[][..], |der| der);
        let fingerprint = fingerprint(&*provider, der);
        let configurations = [
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ]
        .map(|profile| {
            ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(vec![profile])
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                .with_insecure_skip_verify(true) // no chain: the fingerprint of the offer decides
                .with_flight_interval(HANDSHAKE_TIMEOUT * 2) // flights are repeated by the association
                .build(false, None)
                .map(Arc::new)
        })
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error))?;
        Ok(Self { provider, fingerprint, configurations })
    }

    /// SHA-256 of the certificate, as `a=fingerprint` writes it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn provider(&self) -> &dyn RTCCryptoProvider {
        &*self.provider
    }

    /// A random number; zero if there is no randomness, which makes nothing less secure: it numbers
    /// streams.
    pub(crate) fn number(&self) -> u32 {
        let mut bytes = [0; 4];
        let _ = self.provider.random().fill(&mut bytes);
        u32::from_be_bytes(bytes)
    }
}

/// SHA-256 in upper case with colons (RFC 8122 §5).
pub(crate) fn fingerprint(provider: &dyn RTCCryptoProvider, der: &[u8]) -> String {
    let hash = provider.crypto().hash(HashAlgorithm::Sha256, der).unwrap_or_default();
    hash.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
