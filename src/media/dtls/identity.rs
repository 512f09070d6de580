//! The certificate that identifies the rooms of a node in DTLS.

use std::fmt;
use std::sync::Arc;

use rtc_crypto::{HashAlgorithm, RTCCryptoProvider};
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use super::HANDSHAKE_TIMEOUT;

/// A self-signed certificate and its DTLS configurations; generated once per node. The fingerprint in SDP
/// answers binds it to each session (RFC 8122).
pub struct DtlsCertificate {
    provider: Arc<dyn RTCCryptoProvider>,
    fingerprint: String,
    /// In order of preference. rtc-dtls selects the first profile that the *client* lists and the server
    /// accepts, so each configuration offers only one.
    pub(super) configurations: Vec<Arc<HandshakeConfig>>,
}

/// The certificate could not be generated: the crypto provider lacks something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DtlsCertificateError(String);

impl fmt::Display for DtlsCertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no DTLS certificate: {}", self.0)
    }
}

impl std::error::Error for DtlsCertificateError {}

impl DtlsCertificate {
    /// Generates a P-256 key and certificate.
    ///
    /// # Errors
    /// [`DtlsCertificateError`], if there is no random number generator or crypto provider.
    pub fn generate() -> Result<Self, DtlsCertificateError> {
        let to_error = |error: &dyn fmt::Display| DtlsCertificateError(error.to_string());
        let provider = rtc_crypto::default_provider().map_err(|error| to_error(&error))?;
        let certificate =
            Certificate::generate_self_signed(vec!["media".to_owned()], provider.crypto())
                .map_err(|error| to_error(&error))?;
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
                .with_insecure_skip_verify(true) // no chain: the client is verified by the fingerprint of its offer
                .with_flight_interval(HANDSHAKE_TIMEOUT * 2) // flights are retransmitted by the association
                .build(false, None)
                .map(Arc::new)
        })
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| to_error(&error))?;
        Ok(Self { provider, fingerprint, configurations })
    }

    /// SHA-256 fingerprint of the certificate, as in `a=fingerprint`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The crypto provider of this certificate.
    pub(crate) fn provider(&self) -> &dyn RTCCryptoProvider {
        &*self.provider
    }

    /// A random number; zero if the random number generator fails, which is harmless: it only numbers
    /// streams.
    pub(crate) fn random_u32(&self) -> u32 {
        let mut bytes = [0; 4];
        let _ = self.provider.random().fill(&mut bytes);
        u32::from_be_bytes(bytes)
    }
}

/// SHA-256 fingerprint of a certificate, upper case with colons (RFC 8122 §5).
pub(crate) fn fingerprint(provider: &dyn RTCCryptoProvider, der: &[u8]) -> String {
    let hash = provider.crypto().hash(HashAlgorithm::Sha256, der).unwrap_or_default();
    hash.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}
