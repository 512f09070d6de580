//! The transport of one client: ICE paths (RFC 8445), DTLS association (RFC 5764) and SRTP contexts (RFC 3711).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dtls::{DtlsAssociation, DtlsCertificate};
use crate::ice::{self, IceCredentials};
use crate::limits::{MAX_OVERHEAD_BYTES, MAX_PATHS_PER_PEER, MAX_RTCP_SENDERS};
use crate::path::{NetworkPath, TransmitBuffer};
use crate::rtp;
use crate::srtp::{ReplayWindow, SrtpContext};
use crate::ssrc_table::SsrcTable;

/// The SRTP contexts of both directions, derived from the DTLS handshake.
pub(crate) struct SrtpContexts {
    /// Decrypts packets from the client.
    pub(crate) inbound: SrtpContext,
    /// Encrypts packets to the client.
    pub(crate) outbound: SrtpContext,
}

/// A path from which a valid binding request was received.
struct ValidatedPath {
    path: NetworkPath,
    last_checked: Instant,
}

/// The transport of a client, created by its first offer.
pub(crate) struct PeerTransport {
    /// The server's ICE credentials, which the client's checks must use.
    pub(crate) local_credentials: IceCredentials,
    /// Credentials from before an ICE restart: accepted until a check with the new ones is received.
    pub(crate) previous_credentials: Option<IceCredentials>,
    /// The client's user name fragment and password; an ICE restart changes them.
    pub(crate) remote_credentials: (String, String),
    /// The SDP session id, which identifies the client's peer connection.
    pub(crate) session_id: u64,
    /// The DTLS association, including the handshake.
    pub(crate) dtls: DtlsAssociation,
    /// Present once the handshake is complete.
    pub(crate) srtp: Option<SrtpContexts>,
    /// When the handshake started.
    pub(crate) handshake_started: Option<Instant>,
    /// The path on which media is sent.
    pub(crate) selected_path: Option<NetworkPath>,
    /// The SSRCs from which the client sends.
    pub(crate) ssrcs: SsrcTable,
    /// Consent expired and the client was reported as disconnected.
    pub(crate) consent_expired: bool,
    last_check: Instant,
    paths: Vec<ValidatedPath>,
    rtcp_senders: Vec<(u32, ReplayWindow)>,
}

/// Result of a binding request.
pub(crate) struct BindingCheckOutcome {
    /// The STUN response to send back.
    pub(crate) response: Vec<u8>,
    /// The path of the request may be used.
    pub(crate) is_valid: bool,
    /// The path that was evicted to make space for the new one.
    pub(crate) evicted_path: Option<NetworkPath>,
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// The header is invalid.
    Malformed,
    /// Authentication failed, or there are no keys yet.
    Unauthenticated,
    /// The packet was received before, or is older than the replay window.
    Replayed,
}

/// An RTP packet that was decrypted in place.
pub(crate) struct DecryptedRtp {
    /// Index of its SSRC in the SSRC table.
    pub(crate) ssrc_index: usize,
    /// Length of the decrypted packet in bytes.
    pub(crate) length: usize,
    /// Extended sequence number.
    pub(crate) index: u64,
}

impl PeerTransport {
    /// A transport that waits for connectivity checks and a handshake.
    pub(crate) fn new(
        now: Instant,
        local_credentials: IceCredentials,
        certificate: Arc<DtlsCertificate>,
        offer: &crate::sdp::RemoteOffer,
    ) -> Self {
        Self {
            local_credentials,
            previous_credentials: None,
            remote_credentials: (offer.ufrag.clone(), offer.password.clone()),
            session_id: offer.session_id,
            dtls: DtlsAssociation::new(certificate, &offer.fingerprint),
            srtp: None,
            handshake_started: None,
            selected_path: None,
            ssrcs: SsrcTable::default(),
            consent_expired: false,
            last_check: now,
            paths: Vec::new(),
            rtcp_senders: Vec::new(),
        }
    }

    /// Answers a binding request; `None` if it is not authentic.
    pub(crate) fn handle_binding_request(
        &mut self,
        now: Instant,
        path: NetworkPath,
        datagram: &[u8],
        certificate: &DtlsCertificate,
    ) -> Option<BindingCheckOutcome> {
        let crypto = certificate.provider().crypto();
        let response =
            |credentials| ice::binding_response(datagram, credentials, path.remote, crypto);
        let (is_current, response) = match response(&self.local_credentials) {
            Some(response) => (true, response),
            None => (false, response(self.previous_credentials.as_ref()?)?),
        };
        let mut outcome = BindingCheckOutcome {
            response: response.response,
            is_valid: response.is_valid,
            evicted_path: None,
        };
        if !response.is_valid {
            return Some(outcome);
        }
        self.last_check = now;
        match self.paths.iter_mut().find(|validated| validated.path == path) {
            Some(validated) => validated.last_checked = now,
            None => {
                if self.paths.len() == MAX_PATHS_PER_PEER {
                    outcome.evicted_path =
                        self.least_recently_checked().map(|at| self.paths.swap_remove(at).path);
                }
                self.paths.push(ValidatedPath { path, last_checked: now });
            }
        }
        // After an ICE restart the first check with the new credentials ends the old generation. Until then
        // the old path stays selected, whatever the client still sends with the old credentials.
        let is_restart = is_current && self.previous_credentials.take().is_some();
        if is_current && (response.is_nominated || is_restart) || self.selected_path.is_none() {
            self.selected_path = Some(path);
        }
        Some(outcome)
    }

    /// The path that was checked least recently, other than the selected one.
    fn least_recently_checked(&self) -> Option<usize> {
        let others = self.paths.iter().enumerate();
        let others = others.filter(|(_, validated)| Some(validated.path) != self.selected_path);
        others.min_by_key(|(_, validated)| validated.last_checked).map(|(at, _)| at)
    }

    /// Removes the paths that were not checked within `consent` and returns them (RFC 7675).
    pub(crate) fn expire_paths(&mut self, now: Instant, consent: Duration) -> Vec<NetworkPath> {
        let mut expired = Vec::new();
        self.paths.retain(|validated| {
            let is_fresh = now < validated.last_checked + consent;
            if !is_fresh {
                expired.push(validated.path);
            }
            is_fresh
        });
        if self.selected_path.is_some_and(|selected| expired.contains(&selected)) {
            let newest = self.paths.iter().max_by_key(|validated| validated.last_checked);
            self.selected_path = newest.map(|validated| validated.path);
        }
        expired
    }

    /// When the oldest path expires, or the transport itself if no path was ever validated.
    pub(crate) fn next_expiry(&self, consent: Duration) -> Instant {
        let oldest = self.paths.iter().map(|validated| validated.last_checked).min();
        oldest.unwrap_or(self.last_check) + consent
    }

    /// Whether no check was received for the consent timeout.
    pub(crate) fn is_consent_expired(&self, now: Instant, consent: Duration) -> bool {
        now >= self.last_check + consent
    }

    /// Whether there are keys and a path, so that media can be sent and received.
    pub(crate) fn can_carry_media(&self) -> bool {
        self.srtp.is_some() && self.selected_path.is_some()
    }

    /// All validated paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = NetworkPath> {
        self.paths.iter().map(|validated| validated.path)
    }

    /// Authenticates and decrypts an RTP packet. An SSRC is stored only after a packet of it was
    /// authenticated.
    pub(crate) fn open_rtp(&mut self, datagram: &mut [u8]) -> Result<DecryptedRtp, DropReason> {
        let header = rtp::header_length(datagram).map_err(|_| DropReason::Malformed)?;
        let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
        let ssrc = u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
        let srtp = self.srtp.as_mut().ok_or(DropReason::Unauthenticated)?;
        let ssrc_index = self.ssrcs.find(ssrc);
        let window = ssrc_index.and_then(|at| self.ssrcs.get_mut(at)).map(|source| &source.window);
        let index = window.map_or(u64::from(sequence), |window| window.extend(sequence));
        if window.is_some_and(|window| !window.is_new(index)) {
            return Err(DropReason::Replayed);
        }
        let length =
            srtp.inbound.decrypt_rtp(datagram, header, index).ok_or(DropReason::Unauthenticated)?;
        let at = ssrc_index.unwrap_or_else(|| self.ssrcs.add(ssrc));
        if let Some(source) = self.ssrcs.get_mut(at) {
            source.window.insert(index);
        }
        Ok(DecryptedRtp { ssrc_index: at, length, index })
    }

    /// Authenticates and decrypts a compound RTCP packet; returns its length in bytes.
    pub(crate) fn open_rtcp(&mut self, datagram: &mut [u8]) -> Result<usize, DropReason> {
        let srtp = self.srtp.as_mut().ok_or(DropReason::Unauthenticated)?;
        let ssrc = crate::rtcp::u32_at(datagram, 4).ok_or(DropReason::Malformed)?;
        let (length, index) =
            srtp.inbound.decrypt_rtcp(datagram).ok_or(DropReason::Unauthenticated)?;
        let index = u64::from(index);
        let at =
            self.rtcp_senders.iter().position(|(known, _)| *known == ssrc).unwrap_or_else(|| {
                if self.rtcp_senders.len() == MAX_RTCP_SENDERS {
                    self.rtcp_senders.remove(0);
                }
                self.rtcp_senders.push((ssrc, ReplayWindow::default()));
                self.rtcp_senders.len() - 1
            });
        let window = &mut self.rtcp_senders[at].1;
        if !window.is_new(index) {
            return Err(DropReason::Replayed);
        }
        window.insert(index);
        Ok(length)
    }

    /// Encrypts a compound RTCP packet into `out`; false if the client is not reachable yet.
    pub(crate) fn send_rtcp(&mut self, compound: &[u8], out: &mut TransmitBuffer) -> bool {
        let (Some(srtp), Some(path)) = (self.srtp.as_mut(), self.selected_path) else {
            return false;
        };
        let space = out.space(compound.len() + MAX_OVERHEAD_BYTES);
        space[..compound.len()].copy_from_slice(compound);
        let encrypted = srtp.outbound.encrypt_rtcp(space, compound.len());
        encrypted.map(|length| out.commit(path, length)).is_some()
    }
}
