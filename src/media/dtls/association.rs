//! The DTLS association with one client.

use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{DtlsCertificate, HANDSHAKE_TIMEOUT, fingerprint};
use crate::srtp::{MASTER_KEY_LEN, SrtpContext, SrtpProfile};

/// rtc-dtls files associations by address; a client has one, whichever path ICE takes. Under one
/// constant address a change of path does no harm, not even in the middle of a handshake.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// A `ClientHello` with a post-quantum key share has about 1,500 bytes.
const MAX_CLIENT_HELLO_BYTES: usize = 8192;
/// What a client may send for its handshake, repetitions included; a normal one takes about ten.
/// rtc-dtls joins fragments in cubic time, keeps empty ones and records of the next epoch without
/// limit, and goes on doing so after the handshake, so it must not be fed at will.
const MAX_HANDSHAKE_RECORDS: usize = 96;
/// rtc-dtls stops its timer for good when a client repeats itself first, so flights are repeated here.
const RETRANSMIT_INTERVAL: Duration = Duration::from_millis(100);

const RECORD_HEADER: usize = 13;
const HANDSHAKE_RECORD: u8 = 22;
const HELLO_VERIFY_REQUEST: u8 = 3;

/// What came of a datagram.
pub(crate) enum DtlsOutcome {
    /// The handshake is complete; the keys for what comes in, and for what goes out.
    Connected(Box<(SrtpContext, SrtpContext)>),
    /// The client said goodbye.
    Closed,
    /// The handshake failed for good.
    Failed,
}

/// One association, from its first datagram on.
pub(crate) struct DtlsAssociation {
    identity: Arc<DtlsCertificate>,
    endpoint: Endpoint,
    configuration: usize,
    /// Datagrams of the `ClientHello`, to be read again with the next configuration.
    hello: Vec<Vec<u8>>,
    /// What was sent last, and when it is to be sent again.
    flight: Vec<Vec<u8>>,
    repeat: Option<(Instant, Duration)>,
    records: usize,
    deadline: Option<Instant>,
    expected: String,
    complete: bool,
}

impl DtlsAssociation {
    /// Waits for a client whose certificate has this SHA-256 fingerprint.
    pub(crate) fn new(identity: Arc<DtlsCertificate>, expected: &str) -> Self {
        let endpoint = endpoint(&identity, 0);
        Self {
            identity,
            endpoint,
            configuration: 0,
            hello: Vec::new(),
            flight: Vec::new(),
            repeat: None,
            records: 0,
            deadline: None,
            expected: expected.to_ascii_uppercase(),
            complete: false,
        }
    }

    /// Whose certificate is expected.
    pub(crate) fn expected(&self) -> &str {
        &self.expected
    }

    /// Takes a datagram; answers are added to `send`.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        datagram: &[u8],
        send: &mut Vec<Vec<u8>>,
    ) -> Option<DtlsOutcome> {
        self.deadline.get_or_insert(now + HANDSHAKE_TIMEOUT);
        self.records += records(datagram, self.complete);
        if self.records > MAX_HANDSHAKE_RECORDS {
            return (!self.complete).then_some(DtlsOutcome::Failed);
        }
        let before = send.len();
        let result = self.feed(now, datagram);
        self.collect(send);
        if !self.complete && send.len() > before {
            self.flight = send[before..].to_vec();
            // A client that got no HelloVerifyRequest begins again, and so would we.
            let stateless = self.flight[0].get(RECORD_HEADER) == Some(&HELLO_VERIFY_REQUEST);
            self.repeat = (!stateless).then_some((now + RETRANSMIT_INTERVAL, RETRANSMIT_INTERVAL));
        }
        match result {
            Err(Error::ErrAlertFatalOrClose) => Some(DtlsOutcome::Closed),
            // a damaged or forged record must not end a call
            Err(error) if self.complete || error == Error::ErrInvalidPacketLength => None,
            Err(_) => Some(DtlsOutcome::Failed),
            Ok(events) => events.into_iter().find_map(|event| match event {
                EndpointEvent::HandshakeComplete => Some(self.finish()),
                EndpointEvent::PeerClosed => Some(DtlsOutcome::Closed),
                _ => None,
            }),
        }
    }

    /// Reads a datagram with the preferred configuration, and all of them again with the next one when
    /// the client knows no such profile.
    fn feed(&mut self, now: Instant, datagram: &[u8]) -> Result<Vec<EndpointEvent>, Error> {
        let kept: usize = self.hello.iter().map(Vec::len).sum();
        if !self.complete && kept + datagram.len() <= MAX_CLIENT_HELLO_BYTES {
            self.hello.push(datagram.to_vec());
        }
        let mut result = self.endpoint.read(now, ANY, None, datagram.into());
        while matches!(result, Err(Error::ErrServerNoMatchingSrtpProfile))
            && self.configuration + 1 < self.identity.configurations.len()
        {
            self.configuration += 1;
            self.endpoint = endpoint(&self.identity, self.configuration);
            for datagram in &self.hello {
                result = self.endpoint.read(now, ANY, None, datagram.as_slice().into());
            }
        }
        result
    }

    fn finish(&mut self) -> DtlsOutcome {
        self.complete = true;
        (self.hello, self.flight, self.repeat) = (Vec::new(), Vec::new(), None);
        self.sessions().map_or(DtlsOutcome::Failed, |keys| DtlsOutcome::Connected(Box::new(keys)))
    }

    /// Keys of a client with the right certificate (RFC 5764 §4.2).
    fn sessions(&self) -> Option<(SrtpContext, SrtpContext)> {
        let provider = self.identity.provider();
        let state = self.endpoint.get_connection_state(ANY)?;
        if fingerprint(provider, state.peer_certificates.first()?) != self.expected {
            return None;
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => SrtpProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => SrtpProfile::Aes128CmSha1_80,
            _ => return None,
        };
        let length = 2 * (MASTER_KEY_LEN + profile.salt());
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], length).ok()?;
        let (keys, salts) = material.as_ref().split_at_checked(2 * MASTER_KEY_LEN)?;
        let (client, server) = keys.split_at(MASTER_KEY_LEN);
        let (client_salt, server_salt) = salts.split_at_checked(profile.salt())?;
        let crypto = provider.crypto();
        let incoming = SrtpContext::new(profile, client, client_salt, crypto).ok()?;
        let outgoing = SrtpContext::new(profile, server, server_salt, crypto).ok()?;
        Some((incoming, outgoing))
    }

    /// Repeats what was not answered. False: the handshake takes too long.
    pub(crate) fn timeout(&mut self, now: Instant, send: &mut Vec<Vec<u8>>) -> bool {
        if self.complete {
            return true;
        }
        if let Some((_, pause)) = self.repeat.filter(|(due, _)| *due <= now) {
            send.extend_from_slice(&self.flight); // the same record numbers: what is there is dropped
            self.repeat = Some((now + pause * 2, pause * 2));
        }
        self.deadline.is_none_or(|deadline| now < deadline)
    }

    /// When [`timeout`](Self::timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let deadline = self.deadline.filter(|_| !self.complete);
        self.repeat.map(|(due, _)| due).into_iter().chain(deadline).min()
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self, now: Instant, send: &mut Vec<Vec<u8>>) {
        let _ = self.endpoint.close(now);
        self.collect(send);
    }

    fn collect(&mut self, send: &mut Vec<Vec<u8>>) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            send.push(transmit.message.to_vec());
        }
    }
}

fn endpoint(identity: &DtlsCertificate, configuration: usize) -> Endpoint {
    let configuration = identity.configurations.get(configuration).cloned();
    Endpoint::new(ANY, TransportProtocol::UDP, configuration)
}

/// Counts the records of a datagram: all of them, or those of handshakes only.
fn records(mut datagram: &[u8], handshake_only: bool) -> usize {
    let mut count = 0;
    while let Some(header) = datagram.get(..RECORD_HEADER) {
        count += usize::from(!handshake_only || header[0] == HANDSHAKE_RECORD);
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        datagram = datagram.get(RECORD_HEADER + length..).unwrap_or_default();
    }
    count
}
