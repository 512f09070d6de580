//! The client's end of a transport: the check that ICE begins with, and DTLS in the client's role.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Wire;
use rtc_shared::TransportProtocol;
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};

use super::TestPeerError;
use crate::dtls::fingerprint;
use crate::srtp::{MASTER_KEY_BYTES, SrtpContext, SrtpProfile};

/// The one server of an association, whatever its real address.
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// Of a peer-reflexive candidate over UDP (RFC 8445 §5.1.2.1).
const PRIORITY: u32 = 110 << 24 | 65_535 << 8 | 255;

/// What all clients of a process share: a certificate is dear.
struct ClientCertificate {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    fingerprint: String,
}

fn own() -> Result<&'static ClientCertificate, TestPeerError> {
    static ONE: OnceLock<Result<ClientCertificate, TestPeerError>> = OnceLock::new();
    let make = || {
        let provider = rtc_crypto::default_provider().map_err(TestPeerError::crypto)?;
        let certificate =
            Certificate::generate_self_signed(vec!["client".to_owned()], provider.crypto())
                .map_err(TestPeerError::crypto)?;
        let der = certificate.certificate.first().map_or(&[][..], |der| der);
        let fingerprint = fingerprint(&*provider, der);
        Ok(ClientCertificate { provider, certificate, fingerprint })
    };
    ONE.get_or_init(make).as_ref().map_err(Clone::clone)
}

/// SHA-256 of the certificate of all clients, as `a=fingerprint` writes it.
pub(crate) fn own_fingerprint() -> Result<&'static str, TestPeerError> {
    Ok(&own()?.fingerprint)
}

/// A connectivity check of a controlling client (RFC 8445 §7.2). `username` is the server's fragment,
/// a colon and the client's.
pub(crate) fn check(
    username: &str,
    password: &str,
    nominate: bool,
) -> Result<Vec<u8>, TestPeerError> {
    let mut message = Message::new();
    message.write_header();
    let key = MessageIntegrity::new_short_term_integrity_with_provider(
        password.to_owned(),
        own()?.provider.crypto(),
    );
    BINDING_REQUEST.add_to(&mut message).map_err(TestPeerError::crypto)?;
    TransactionId::new().add_to(&mut message).map_err(TestPeerError::crypto)?;
    message.add(ATTR_USERNAME, username.as_bytes());
    message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
    message.add(ATTR_ICE_CONTROLLING, &[0; 8]);
    if nominate {
        message.add(ATTR_USE_CANDIDATE, &[]);
    }
    key.add_to(&mut message).map_err(TestPeerError::crypto)?;
    FINGERPRINT.add_to(&mut message).map_err(TestPeerError::crypto)?;
    Ok(message.raw)
}

/// The answer to a check of the server.
pub(super) fn confirm(
    datagram: &[u8],
    ice: &crate::ice::IceCredentials,
    from: SocketAddr,
) -> Option<Vec<u8>> {
    crate::ice::success_response(datagram, ice, from, own().ok()?.provider.crypto())
}

/// One association, from its `ClientHello` on.
pub(crate) struct ClientDtls {
    endpoint: Endpoint,
}

impl ClientDtls {
    /// Begins; the profiles are offered in this order.
    pub(crate) fn new(now: Instant, profiles: &[Wire]) -> Result<Self, TestPeerError> {
        let own = own()?;
        let configuration = ConfigBuilder::default()
            .with_crypto_provider(Arc::clone(&own.provider))
            .with_certificates(vec![own.certificate.clone()])
            .with_srtp_protection_profiles(profiles.to_vec())
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_insecure_skip_verify(true) // it measures; what it sends is no secret
            .with_flight_interval(Duration::from_millis(50))
            .build(true, Some(SERVER))
            .map_err(TestPeerError::crypto)?;
        let mut endpoint = Endpoint::new(SERVER, TransportProtocol::UDP, None);
        endpoint
            .connect(now, SERVER, Arc::new(configuration), None)
            .map_err(TestPeerError::crypto)?;
        Ok(Self { endpoint })
    }

    /// Takes a datagram; gives the keys for what comes in and for what goes out, when it is complete.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        datagram: &[u8],
    ) -> Option<(SrtpContext, SrtpContext)> {
        let events = self.endpoint.read(now, SERVER, None, datagram.into()).ok()?;
        let done = events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete));
        done.then(|| self.keys()).flatten()
    }

    /// Repeats what was lost.
    pub(crate) fn timeout(&mut self, now: Instant) {
        let _ = self.endpoint.handle_timeout(SERVER, now); // a failure shows as no connection
    }

    /// What is to be sent.
    pub(crate) fn transmit(&mut self) -> Option<Vec<u8>> {
        Some(self.endpoint.poll_transmit()?.message.to_vec())
    }

    /// Says goodbye.
    #[cfg(test)]
    pub(crate) fn close(&mut self, now: Instant) {
        self.endpoint.close(now).unwrap();
    }

    fn keys(&self) -> Option<(SrtpContext, SrtpContext)> {
        let state = self.endpoint.get_connection_state(SERVER)?;
        let profile = match state.srtp_protection_profile() {
            Wire::Srtp_Aead_Aes_128_Gcm => SrtpProfile::AeadAes128Gcm,
            _ => SrtpProfile::Aes128CmSha1_80,
        };
        let salt = profile.salt_len();
        let length = 2 * (MASTER_KEY_BYTES + salt);
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], length).ok()?;
        let bytes: &[u8] = material.as_ref();
        let (keys, salts) = bytes.split_at_checked(2 * MASTER_KEY_BYTES)?;
        let ((client, server), (own_salt, its_salt)) =
            (keys.split_at_checked(MASTER_KEY_BYTES)?, salts.split_at_checked(salt)?);
        let crypto = own().ok()?.provider.crypto();
        let outgoing = SrtpContext::new(profile, client, own_salt, crypto).ok()?;
        let incoming = SrtpContext::new(profile, server, its_salt, crypto).ok()?;
        Some((incoming, outgoing))
    }
}
