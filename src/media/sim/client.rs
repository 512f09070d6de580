//! A client: ICE and DTLS in its roles, SRTP, pictures and sound made of a few bytes.

use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Wire;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{OfferSection, text};
use crate::rtcp::{self, CompoundWriter};
use crate::rtp::RtpPacket;
use crate::srtp::{OVERHEAD, ReplayWindow, SrtpContext, SrtpProfile};
use crate::test_peer::{ClientDtls, own_fingerprint};
use crate::twcc::TwccReceiver;
use crate::{MediaKind, NetworkPath, ParticipantId, PublishOffer, TransportProtocol};

/// A connectivity check of a controlling client.
pub(crate) fn check(fragment: &str, password: &str, nominate: bool) -> Vec<u8> {
    crate::test_peer::check(&format!("{fragment}:client"), password, nominate).unwrap()
}

/// A packet that was received and decrypted.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) ssrc: u32,
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
    pub(crate) mid: String,
    pub(crate) level: Option<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) path: NetworkPath,
    pub(crate) at: Instant,
}

/// A stream that is sent.
pub(super) struct Sending {
    pub(super) ssrc: u32,
    pub(super) repair_ssrc: u32,
    pub(super) kind: MediaKind,
    pub(super) mid: String,
    pub(super) rid: Option<&'static str>,
    pub(super) index: u64,
    pub(super) repair_index: u64,
    pub(super) timestamp: u32,
    pub(super) picture: u16,
    pub(super) key_wanted: bool,
    pub(super) sent: BTreeMap<u16, Vec<u8>>,
}

pub(crate) struct Client {
    pub(crate) participant: ParticipantId,
    pub(crate) paths: Vec<NetworkPath>,
    /// Where it sends from.
    pub(crate) path: NetworkPath,
    /// Checks its paths by itself.
    pub(crate) checks: bool,
    /// Answers NACKs.
    pub(crate) repairs: bool,
    /// Which peer connection, and its ICE credentials.
    pub(crate) session: u64,
    pub(crate) ice: (String, String),
    pub(crate) server: (String, String),
    pub(crate) profiles: Vec<Wire>,
    pub(crate) received: Vec<Received>,
    /// RTCP that came, as (count, kind, body).
    pub(crate) told: Vec<(u8, u8, Vec<u8>)>,
    pub(crate) checked: usize,
    pub(crate) keys_asked: usize,
    association: Option<ClientDtls>,
    pub(super) keys: Option<(SrtpContext, SrtpContext)>,
    last_check: Option<Instant>,
    windows: BTreeMap<u32, ReplayWindow>,
    pub(super) sending: Vec<Sending>,
    pub(super) queue: Vec<(NetworkPath, Vec<u8>)>,
    pub(super) transport: u16,
    /// Tells when packets came.
    pub(crate) feeds: bool,
    arrivals: TwccReceiver,
}

impl Client {
    pub(crate) fn new(now: Instant, participant: ParticipantId) -> Self {
        let mut client = Self::unready(now, participant);
        client.shake_hands(now);
        client
    }

    /// One that makes checks, but never shakes hands.
    pub(crate) fn unready(now: Instant, participant: ParticipantId) -> Self {
        let remote = SocketAddr::from(([203, 0, 113, 1], 1000 + participant.0 as u16));
        let path = NetworkPath { transport: TransportProtocol::Udp, remote };
        Self {
            participant,
            paths: vec![path],
            path,
            checks: true,
            repairs: true,
            session: u64::from(participant.0) * 1000,
            ice: ("abcd".into(), "abcdefghijklmnopqrstuvwx".into()),
            server: (String::new(), String::new()),
            profiles: vec![Wire::Srtp_Aes128_Cm_Hmac_Sha1_80, Wire::Srtp_Aead_Aes_128_Gcm],
            received: Vec::new(),
            told: Vec::new(),
            checked: 0,
            keys_asked: 0,
            association: None,
            keys: None,
            last_check: None,
            windows: BTreeMap::new(),
            sending: Vec::new(),
            queue: Vec::new(),
            transport: 0,
            feeds: true,
            arrivals: TwccReceiver::new(now),
        }
    }

    /// Begins a new DTLS association.
    pub(crate) fn shake_hands(&mut self, now: Instant) {
        self.association = Some(ClientDtls::new(now, &self.profiles).unwrap());
        (self.keys, self.windows) = (None, BTreeMap::new());
        self.arrivals = TwccReceiver::new(now);
        self.sending.clear();
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self, now: Instant) {
        self.association.as_mut().unwrap().close(now);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.keys.is_some()
    }

    pub(crate) fn fingerprint() -> String {
        own_fingerprint().unwrap().to_owned()
    }

    pub(crate) fn offer(&self, lines: &[OfferSection]) -> PublishOffer {
        let sdp = text(self.session, &self.ice, &Self::fingerprint(), lines);
        let receive =
            lines.iter().filter_map(|line| Some((line.mid.clone(), line.receives?))).collect();
        PublishOffer { sdp, receive, ..PublishOffer::default() }
    }

    pub(crate) fn answered(&mut self, now: Instant, lines: &[OfferSection], answer: &str) {
        let get = |key: &str| answer.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let server = (get("a=ice-ufrag:").to_owned(), get("a=ice-pwd:").to_owned());
        if server != self.server {
            self.server = server;
            self.last_check = None;
        }
        for line in lines.iter().filter(|line| line.sends && !line.stopped) {
            let rids: Vec<_> = match &line.layers[..] {
                [] => vec![None],
                layers => layers.iter().copied().map(Some).collect(),
            };
            for rid in rids {
                let known = self.sending.iter().any(|it| it.mid == line.mid && it.rid == rid);
                if !known {
                    let ssrc = self.participant.0 * 1000 + self.sending.len() as u32 * 2 + 1;
                    self.sending.push(Sending {
                        ssrc,
                        repair_ssrc: ssrc + 1,
                        kind: line.kind,
                        mid: line.mid.clone(),
                        rid,
                        index: 65_530, // soon there is a rollover
                        repair_index: 1,
                        timestamp: ssrc.wrapping_mul(7919),
                        picture: 100,
                        key_wanted: true,
                        sent: BTreeMap::new(),
                    });
                }
            }
        }
        let _ = now;
    }

    /// What it wants to send now.
    pub(crate) fn outgoing(&mut self, now: Instant) -> Vec<(NetworkPath, Vec<u8>)> {
        let mut out = Vec::new();
        let due = self.last_check.is_none_or(|last| now >= last + Duration::from_secs(2));
        if self.checks && due && !self.server.0.is_empty() {
            self.last_check = Some(now);
            let (fragment, password) = &self.server;
            out.push((self.path, check(fragment, password, true)));
        }
        if let Some(association) = self.association.as_mut().filter(|_| self.checked > 0) {
            association.timeout(now);
            out.extend(std::iter::from_fn(|| association.transmit()).map(|it| (self.path, it)));
        }
        if self.feeds && self.keys.is_some() && self.arrivals.next().is_some_and(|due| due <= now) {
            let mut feedback = Vec::new();
            self.arrivals.write(1, 1, &mut feedback);
            self.tell(|compound| compound.begin().extend(&feedback));
        }
        out.append(&mut self.queue);
        out
    }

    pub(crate) fn receive(&mut self, now: Instant, path: NetworkPath, datagram: &[u8]) {
        match datagram[0] {
            0..=3 => self.checked += 1,
            20..=63 => {
                let association = self.association.as_mut();
                if let Some(keys) = association.and_then(|it| it.receive(now, datagram)) {
                    self.keys = Some(keys);
                }
            }
            _ if (192..=223).contains(&datagram[1]) => self.receive_rtcp(now, datagram),
            _ => self.receive_rtp(now, path, datagram),
        }
    }

    pub(crate) fn profile(&self) -> SrtpProfile {
        self.keys.as_ref().unwrap().0.profile()
    }

    fn receive_rtp(&mut self, now: Instant, path: NetworkPath, datagram: &[u8]) {
        let Some((incoming, _)) = &mut self.keys else { return };
        let mut bytes = datagram.to_vec();
        let header = crate::rtp::header_length(&bytes).unwrap();
        let ssrc = u32::from_be_bytes(bytes[8..12].try_into().unwrap());
        let window = self.windows.entry(ssrc).or_default();
        let index = window.extend(u16::from_be_bytes([bytes[2], bytes[3]]));
        let length = incoming.open_rtp(&mut bytes, header, index).expect("an authentic packet");
        assert!(window.is_new(index), "an index that was used before");
        window.accept(index);
        let packet = RtpPacket::parse(&bytes[..length]).unwrap();
        let find = |id| packet.extensions().find(|(it, _)| *it == id).map(|(_, value)| value);
        if let Some(&[high, low]) = find(3) {
            self.arrivals.received(now, u16::from_be_bytes([high, low]));
        }
        let mid = find(4).map(|mid| String::from_utf8(mid.to_vec()).unwrap());
        self.received.push(Received {
            ssrc,
            index,
            timestamp: packet.timestamp(),
            payload_type: packet.payload_type(),
            mid: mid.unwrap_or_default(),
            level: find(1).map(|level| level[0]),
            payload: packet.payload().to_vec(),
            path,
            at: now,
        });
    }

    fn receive_rtcp(&mut self, _: Instant, datagram: &[u8]) {
        let Some((incoming, _)) = &mut self.keys else { return };
        let mut bytes = datagram.to_vec();
        let (length, _) = incoming.open_rtcp(&mut bytes).expect("an authentic compound");
        let mut repairs = Vec::new();
        for part in rtcp::parts(&bytes[..length]) {
            self.told.push((part.count, part.kind, part.body.to_vec()));
            let sending = self.sending.iter_mut().find(|it| Some(it.ssrc) == part.media());
            match (sending, part.kind, part.count) {
                (Some(it), rtcp::PAYLOAD, rtcp::PICTURE_LOSS) => {
                    it.key_wanted = true;
                    self.keys_asked += 1;
                }
                (Some(it), rtcp::TRANSPORT, rtcp::NACK) => {
                    repairs.extend(part.missing().map(|sequence| (it.ssrc, sequence)));
                }
                _ => {}
            }
        }
        if self.repairs {
            repairs.into_iter().for_each(|(ssrc, sequence)| self.repair(ssrc, sequence));
        }
    }

    /// Sends a compound.
    pub(crate) fn tell(&mut self, write: impl FnOnce(&mut CompoundWriter)) {
        let mut compound = CompoundWriter::default();
        write(&mut compound);
        let mut bytes = compound.bytes().to_vec();
        let length = bytes.len();
        bytes.resize(length + OVERHEAD, 0);
        let (_, outgoing) = self.keys.as_mut().unwrap();
        let length = outgoing.seal_rtcp(&mut bytes, length).unwrap();
        bytes.truncate(length);
        self.queue.push((self.path, bytes));
    }
}
