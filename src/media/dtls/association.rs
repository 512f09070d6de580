//! The DTLS association with one client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::{DtlsCertificate, HANDSHAKE_TIMEOUT, fingerprint};
use crate::limits::{MAX_CLIENT_HELLO_BYTES, MAX_HANDSHAKE_RECORDS};
use crate::srtp::{MASTER_KEY_BYTES, SrtpContext, SrtpProfile};

/// rtc-dtls identifies associations by address; a client has one, whichever path ICE selects. With one constant
/// address a change of path is harmless, even during a handshake.
const PEER_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// Initial retransmission interval. rtc-dtls stops its timer for good when a client retransmits first, so flights
/// are retransmitted here.
const RETRANSMIT_INTERVAL: Duration = Duration::from_millis(100);

/// Length of the header of a DTLS record.
const RECORD_HEADER_BYTES: usize = 13;
/// Content type of handshake records.
const HANDSHAKE_RECORD: u8 = 22;
/// Handshake message type of `HelloVerifyRequest`.
const HELLO_VERIFY_REQUEST: u8 = 3;

/// Result of a datagram.
pub(crate) enum DtlsOutcome {
    /// The handshake is complete; the SRTP contexts of the inbound and outbound direction.
    Connected(Box<(SrtpContext, SrtpContext)>),
    /// The client closed the association.
    Closed,
    /// The handshake failed permanently.
    Failed,
}

/// One association, from its first datagram on.
pub(crate) struct DtlsAssociation {
    certificate: Arc<DtlsCertificate>,
    endpoint: Endpoint,
    configuration: usize,
    /// Datagrams of the `ClientHello`, to be replayed with the next configuration.
    client_hello: Vec<Vec<u8>>,
    /// The last flight that was sent.
    flight: Vec<Vec<u8>>,
    /// When the flight is retransmitted next, and the current interval.
    retransmit: Option<(Instant, Duration)>,
    record_count: usize,
    deadline: Option<Instant>,
    expected_fingerprint: String,
    is_complete: bool,
}

impl DtlsAssociation {
    /// An association that waits for a client whose certificate has this SHA-256 fingerprint.
    pub(crate) fn new(certificate: Arc<DtlsCertificate>, expected: &str) -> Self {
        let endpoint = new_endpoint(&certificate, 0);
        Self {
            certificate,
            endpoint,
            configuration: 0,
            client_hello: Vec::new(),
            flight: Vec::new(),
            retransmit: None,
            record_count: 0,
            deadline: None,
            expected_fingerprint: expected.to_ascii_uppercase(),
            is_complete: false,
        }
    }

    /// SHA-256 fingerprint of the expected client certificate.
    pub(crate) fn expected_fingerprint(&self) -> &str {
        &self.expected_fingerprint
    }

    /// Handles a datagram; datagrams to send are appended to `send`.
    pub(crate) fn on_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        send: &mut Vec<Vec<u8>>,
    ) -> Option<DtlsOutcome> {
        self.deadline.get_or_insert(now + HANDSHAKE_TIMEOUT);
        self.record_count += count_records(datagram, self.is_complete);
        if self.record_count > MAX_HANDSHAKE_RECORDS {
            return (!self.is_complete).then_some(DtlsOutcome::Failed);
        }
        let sent_before = send.len();
        let result = self.feed(now, datagram);
        self.drain_transmits(send);
        if !self.is_complete && send.len() > sent_before {
            self.flight = send[sent_before..].to_vec();
            // HelloVerifyRequest is stateless: a client that missed it starts again.
            let is_stateless =
                self.flight[0].get(RECORD_HEADER_BYTES) == Some(&HELLO_VERIFY_REQUEST);
            self.retransmit =
                (!is_stateless).then_some((now + RETRANSMIT_INTERVAL, RETRANSMIT_INTERVAL));
        }
        match result {
            Err(Error::ErrAlertFatalOrClose) => Some(DtlsOutcome::Closed),
            // A damaged or forged record must not end a call.
            Err(error) if self.is_complete || error == Error::ErrInvalidPacketLength => None,
            Err(_) => Some(DtlsOutcome::Failed),
            Ok(events) => events.into_iter().find_map(|event| match event {
                EndpointEvent::HandshakeComplete => Some(self.finish()),
                EndpointEvent::PeerClosed => Some(DtlsOutcome::Closed),
                _ => None,
            }),
        }
    }

    /// Passes a datagram to the current configuration; if the client does not support its SRTP profile, replays
    /// the handshake with the next configuration.
    fn feed(&mut self, now: Instant, datagram: &[u8]) -> Result<Vec<EndpointEvent>, Error> {
        let stored_bytes: usize = self.client_hello.iter().map(Vec::len).sum();
        if !self.is_complete && stored_bytes + datagram.len() <= MAX_CLIENT_HELLO_BYTES {
            self.client_hello.push(datagram.to_vec());
        }
        let mut result = self.endpoint.read(now, PEER_ADDRESS, None, datagram.into());
        while matches!(result, Err(Error::ErrServerNoMatchingSrtpProfile))
            && self.configuration + 1 < self.certificate.configurations.len()
        {
            self.configuration += 1;
            self.endpoint = new_endpoint(&self.certificate, self.configuration);
            for datagram in &self.client_hello {
                result = self.endpoint.read(now, PEER_ADDRESS, None, datagram.as_slice().into());
            }
        }
        result
    }

    fn finish(&mut self) -> DtlsOutcome {
        self.is_complete = true;
        (self.client_hello, self.flight, self.retransmit) = (Vec::new(), Vec::new(), None);
        self.srtp_contexts()
            .map_or(DtlsOutcome::Failed, |contexts| DtlsOutcome::Connected(Box::new(contexts)))
    }

    /// The SRTP contexts, if the client presented the expected certificate (RFC 5764 §4.2).
    fn srtp_contexts(&self) -> Option<(SrtpContext, SrtpContext)> {
        let provider = self.certificate.provider();
        let state = self.endpoint.get_connection_state(PEER_ADDRESS)?;
        if fingerprint(provider, state.peer_certificates.first()?) != self.expected_fingerprint {
            return None;
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => SrtpProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => SrtpProfile::Aes128CmSha1_80,
            _ => return None,
        };
        let length = 2 * (MASTER_KEY_BYTES + profile.salt_len());
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], length).ok()?;
        let (keys, salts) = material.as_ref().split_at_checked(2 * MASTER_KEY_BYTES)?;
        let (client, server) = keys.split_at(MASTER_KEY_BYTES);
        let (client_salt, server_salt) = salts.split_at_checked(profile.salt_len())?;
        let crypto = provider.crypto();
        let inbound = SrtpContext::new(profile, client, client_salt, crypto).ok()?;
        let outbound = SrtpContext::new(profile, server, server_salt, crypto).ok()?;
        Some((inbound, outbound))
    }

    /// Retransmits a flight that is due. False if the handshake has timed out.
    pub(crate) fn timeout(&mut self, now: Instant, send: &mut Vec<Vec<u8>>) -> bool {
        if self.is_complete {
            return true;
        }
        if let Some((_, interval)) = self.retransmit.filter(|(due, _)| *due <= now) {
            send.extend_from_slice(&self.flight); // same record numbers: the client drops duplicates
            self.retransmit = Some((now + interval * 2, interval * 2));
        }
        self.deadline.is_none_or(|deadline| now < deadline)
    }

    /// When [`timeout`](Self::timeout) must be called.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let deadline = self.deadline.filter(|_| !self.is_complete);
        self.retransmit.map(|(due, _)| due).into_iter().chain(deadline).min()
    }

    /// Sends `close_notify`.
    pub(crate) fn close(&mut self, now: Instant, send: &mut Vec<Vec<u8>>) {
        let _ = self.endpoint.close(now);
        self.drain_transmits(send);
    }

    /// Appends the datagrams that rtc-dtls wants to send.
    fn drain_transmits(&mut self, send: &mut Vec<Vec<u8>>) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            send.push(transmit.message.to_vec());
        }
    }
}

fn new_endpoint(certificate: &DtlsCertificate, configuration: usize) -> Endpoint {
    let configuration = certificate.configurations.get(configuration).cloned();
    Endpoint::new(PEER_ADDRESS, TransportProtocol::UDP, configuration)
}

/// Counts the records of a datagram: all of them, or only those of handshakes.
fn count_records(mut datagram: &[u8], handshake_only: bool) -> usize {
    let mut count = 0;
    while let Some(header) = datagram.get(..RECORD_HEADER_BYTES) {
        count += usize::from(!handshake_only || header[0] == HANDSHAKE_RECORD);
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        datagram = datagram.get(RECORD_HEADER_BYTES + length..).unwrap_or_default();
    }
    count
}
