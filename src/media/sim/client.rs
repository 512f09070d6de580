//! A simulated client: controlling ICE agent, DTLS client, SRTP, and media of a few bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Wire;

use super::{OfferSection, text};
use crate::limits::MAX_OVERHEAD_BYTES;
use crate::rtcp::{self, CompoundWriter};
use crate::rtp::RtpPacket;
use crate::srtp::{ReplayWindow, SrtpContext, SrtpProfile};
use crate::test_peer::{ClientDtls, own_fingerprint};
use crate::twcc::TwccReceiver;
use crate::{MediaKind, NetworkPath, ParticipantId, PublishOffer, TransportProtocol};

/// A connectivity check of a controlling client.
pub(crate) fn check(ufrag: &str, password: &str, nominate: bool) -> Vec<u8> {
    crate::test_peer::check(&format!("{ufrag}:client"), password, nominate).unwrap()
}

/// A packet that was received and decrypted.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedPacket {
    pub(crate) ssrc: u32,
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
    pub(crate) mid: String,
    pub(crate) audio_level: Option<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) path: NetworkPath,
    pub(crate) received_at: Instant,
}

/// A stream that the client sends.
pub(super) struct SentStream {
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: u32,
    pub(super) kind: MediaKind,
    pub(super) mid: String,
    pub(super) rid: Option<&'static str>,
    pub(super) index: u64,
    pub(super) rtx_index: u64,
    pub(super) timestamp: u32,
    pub(super) picture_id: u16,
    pub(super) key_frame_requested: bool,
    pub(super) sent_payloads: BTreeMap<u16, Vec<u8>>,
}

/// A simulated client of a room.
pub(crate) struct Client {
    pub(crate) participant: ParticipantId,
    pub(crate) paths: Vec<NetworkPath>,
    /// The path on which it sends.
    pub(crate) path: NetworkPath,
    /// Whether it sends connectivity checks by itself.
    pub(crate) sends_checks: bool,
    /// Whether it retransmits packets that the server requests.
    pub(crate) answers_nacks: bool,
    /// The SDP session id, which identifies its peer connection.
    pub(crate) session_id: u64,
    /// Its ICE user name fragment and password.
    pub(crate) local_ice: (String, String),
    /// User name fragment and password of the server.
    pub(crate) remote_ice: (String, String),
    pub(crate) profiles: Vec<Wire>,
    pub(crate) received: Vec<ReceivedPacket>,
    /// Received RTCP packets as (count, packet type, body).
    pub(crate) received_rtcp: Vec<(u8, u8, Vec<u8>)>,
    /// Number of responses to connectivity checks.
    pub(crate) check_responses: usize,
    /// Number of key frames that the server requested.
    pub(crate) key_frame_requests: usize,
    dtls: Option<ClientDtls>,
    pub(super) srtp: Option<(SrtpContext, SrtpContext)>,
    last_check: Option<Instant>,
    replay_windows: BTreeMap<u32, ReplayWindow>,
    pub(super) streams: Vec<SentStream>,
    pub(super) send_queue: Vec<(NetworkPath, Vec<u8>)>,
    pub(super) transport_sequence: u16,
    /// Whether it sends transport-wide feedback.
    pub(crate) sends_twcc: bool,
    twcc_receiver: TwccReceiver,
}

impl Client {
    pub(crate) fn new(now: Instant, participant: ParticipantId) -> Self {
        let mut client = Self::without_handshake(now, participant);
        client.start_handshake(now);
        client
    }

    /// A client that sends checks, but never starts a handshake.
    pub(crate) fn without_handshake(now: Instant, participant: ParticipantId) -> Self {
        let remote = SocketAddr::from(([203, 0, 113, 1], 1000 + participant.0 as u16));
        let path = NetworkPath { transport: TransportProtocol::Udp, remote };
        Self {
            participant,
            paths: vec![path],
            path,
            sends_checks: true,
            answers_nacks: true,
            session_id: u64::from(participant.0) * 1000,
            local_ice: ("abcd".into(), "abcdefghijklmnopqrstuvwx".into()),
            remote_ice: (String::new(), String::new()),
            profiles: vec![Wire::Srtp_Aes128_Cm_Hmac_Sha1_80, Wire::Srtp_Aead_Aes_128_Gcm],
            received: Vec::new(),
            received_rtcp: Vec::new(),
            check_responses: 0,
            key_frame_requests: 0,
            dtls: None,
            srtp: None,
            last_check: None,
            replay_windows: BTreeMap::new(),
            streams: Vec::new(),
            send_queue: Vec::new(),
            transport_sequence: 0,
            sends_twcc: true,
            twcc_receiver: TwccReceiver::new(now),
        }
    }

    /// Starts a new DTLS association.
    pub(crate) fn start_handshake(&mut self, now: Instant) {
        self.dtls = Some(ClientDtls::new(now, &self.profiles).unwrap());
        (self.srtp, self.replay_windows) = (None, BTreeMap::new());
        self.twcc_receiver = TwccReceiver::new(now);
        self.streams.clear();
    }

    /// Sends `close_notify`.
    pub(crate) fn close(&mut self, now: Instant) {
        self.dtls.as_mut().unwrap().close(now);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    pub(crate) fn fingerprint() -> String {
        own_fingerprint().unwrap().to_owned()
    }

    pub(crate) fn offer(&self, sections: &[OfferSection]) -> PublishOffer {
        let sdp = text(self.session_id, &self.local_ice, &Self::fingerprint(), sections);
        let receive = sections
            .iter()
            .filter_map(|section| Some((section.mid.clone(), section.receives?)))
            .collect();
        PublishOffer { sdp, receive, ..PublishOffer::default() }
    }

    pub(crate) fn on_answer(&mut self, now: Instant, sections: &[OfferSection], answer: &str) {
        let get = |key: &str| answer.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let remote_ice = (get("a=ice-ufrag:").to_owned(), get("a=ice-pwd:").to_owned());
        if remote_ice != self.remote_ice {
            self.remote_ice = remote_ice;
            self.last_check = None;
        }
        for section in sections.iter().filter(|section| section.sends && !section.stopped) {
            let rids: Vec<_> = match &section.layers[..] {
                [] => vec![None],
                rids => rids.iter().copied().map(Some).collect(),
            };
            for rid in rids {
                let is_known = self.streams.iter().any(|it| it.mid == section.mid && it.rid == rid);
                if !is_known {
                    let ssrc = self.participant.0 * 1000 + self.streams.len() as u32 * 2 + 1;
                    self.streams.push(SentStream {
                        ssrc,
                        rtx_ssrc: ssrc + 1,
                        kind: section.kind,
                        mid: section.mid.clone(),
                        rid,
                        index: 65_530, // near the rollover of sequence numbers
                        rtx_index: 1,
                        timestamp: ssrc.wrapping_mul(7919),
                        picture_id: 100,
                        key_frame_requested: true,
                        sent_payloads: BTreeMap::new(),
                    });
                }
            }
        }
        let _ = now;
    }

    /// The datagrams to send now.
    pub(crate) fn outgoing(&mut self, now: Instant) -> Vec<(NetworkPath, Vec<u8>)> {
        let mut out = Vec::new();
        let due = self.last_check.is_none_or(|last| now >= last + Duration::from_secs(2));
        if self.sends_checks && due && !self.remote_ice.0.is_empty() {
            self.last_check = Some(now);
            let (ufrag, password) = &self.remote_ice;
            out.push((self.path, check(ufrag, password, true)));
        }
        if let Some(dtls) = self.dtls.as_mut().filter(|_| self.check_responses > 0) {
            dtls.timeout(now);
            out.extend(
                std::iter::from_fn(|| dtls.transmit()).map(|datagram| (self.path, datagram)),
            );
        }
        if self.sends_twcc
            && self.srtp.is_some()
            && self.twcc_receiver.next_due().is_some_and(|due| due <= now)
        {
            let mut feedback = Vec::new();
            self.twcc_receiver.write(1, 1, &mut feedback);
            self.send_rtcp(|compound| compound.start_external().extend(&feedback));
        }
        out.append(&mut self.send_queue);
        out
    }

    pub(crate) fn receive(&mut self, now: Instant, path: NetworkPath, datagram: &[u8]) {
        match datagram[0] {
            0..=3 => self.check_responses += 1,
            20..=63 => {
                let dtls = self.dtls.as_mut();
                if let Some(contexts) = dtls.and_then(|dtls| dtls.receive(now, datagram)) {
                    self.srtp = Some(contexts);
                }
            }
            _ if (192..=223).contains(&datagram[1]) => self.receive_rtcp(now, datagram),
            _ => self.receive_rtp(now, path, datagram),
        }
    }

    pub(crate) fn profile(&self) -> SrtpProfile {
        self.srtp.as_ref().unwrap().0.profile()
    }

    fn receive_rtp(&mut self, now: Instant, path: NetworkPath, datagram: &[u8]) {
        let Some((inbound, _)) = &mut self.srtp else { return };
        let mut bytes = datagram.to_vec();
        let header = crate::rtp::header_length(&bytes).unwrap();
        let ssrc = u32::from_be_bytes(bytes[8..12].try_into().unwrap());
        let window = self.replay_windows.entry(ssrc).or_default();
        let index = window.extend(u16::from_be_bytes([bytes[2], bytes[3]]));
        let length =
            inbound.decrypt_rtp(&mut bytes, header, index).expect("packet must be authentic");
        assert!(window.is_new(index), "packet index used twice");
        window.insert(index);
        let packet = RtpPacket::parse(&bytes[..length]).unwrap();
        let find = |id| packet.extensions().find(|(it, _)| *it == id).map(|(_, value)| value);
        if let Some(&[high, low]) = find(3) {
            self.twcc_receiver.on_packet(now, u16::from_be_bytes([high, low]));
        }
        let mid = find(4).map(|mid| String::from_utf8(mid.to_vec()).unwrap());
        self.received.push(ReceivedPacket {
            ssrc,
            index,
            timestamp: packet.timestamp(),
            payload_type: packet.payload_type(),
            mid: mid.unwrap_or_default(),
            audio_level: find(1).map(|level| level[0]),
            payload: packet.payload().to_vec(),
            path,
            received_at: now,
        });
    }

    fn receive_rtcp(&mut self, _: Instant, datagram: &[u8]) {
        let Some((inbound, _)) = &mut self.srtp else { return };
        let mut bytes = datagram.to_vec();
        let (length, _) = inbound.decrypt_rtcp(&mut bytes).expect("compound must be authentic");
        let mut retransmissions = Vec::new();
        for packet in rtcp::packets(&bytes[..length]) {
            self.received_rtcp.push((packet.count, packet.packet_type, packet.body.to_vec()));
            let stream =
                self.streams.iter_mut().find(|stream| Some(stream.ssrc) == packet.media_ssrc());
            match (stream, packet.packet_type, packet.count) {
                (Some(stream), rtcp::PAYLOAD_FEEDBACK, rtcp::PLI) => {
                    stream.key_frame_requested = true;
                    self.key_frame_requests += 1;
                }
                (Some(stream), rtcp::TRANSPORT_FEEDBACK, rtcp::NACK) => {
                    retransmissions
                        .extend(packet.nack_sequences().map(|sequence| (stream.ssrc, sequence)));
                }
                _ => {}
            }
        }
        if self.answers_nacks {
            retransmissions
                .into_iter()
                .for_each(|(ssrc, sequence)| self.retransmit(ssrc, sequence));
        }
    }

    /// Sends a compound RTCP packet.
    pub(crate) fn send_rtcp(&mut self, write: impl FnOnce(&mut CompoundWriter)) {
        let mut compound = CompoundWriter::default();
        write(&mut compound);
        let mut bytes = compound.bytes().to_vec();
        let length = bytes.len();
        bytes.resize(length + MAX_OVERHEAD_BYTES, 0);
        let (_, outbound) = self.srtp.as_mut().unwrap();
        let length = outbound.encrypt_rtcp(&mut bytes, length).unwrap();
        bytes.truncate(length);
        self.send_queue.push((self.path, bytes));
    }
}
