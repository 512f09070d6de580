//! A room with clients around it, in virtual time and without sockets: what stories are told with.

mod client;
mod link;
mod media;
mod tests;

pub(crate) use crate::test_peer::{OfferSection, text};
pub(crate) use client::{Client, check};
pub(crate) use link::Link;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::virtual_time::{ms, start};
use crate::{
    DtlsCertificate, LocalCandidate, MediaKind, NetworkPath, ParticipantId, PublishOffer,
    RoomConfig, RoomEvent, RouteUpdate, SfuRoom, TrackId, TrackSource, TransmitBuffer,
    TransportProtocol,
};

/// One key pair is enough for all tests.
pub(crate) fn identity() -> Arc<DtlsCertificate> {
    static ONE: OnceLock<Arc<DtlsCertificate>> = OnceLock::new();
    ONE.get_or_init(|| Arc::new(DtlsCertificate::generate().unwrap())).clone()
}

/// A datagram that may be lost: from a client or to one, by its place, and its bytes.
pub(crate) type Loses = Box<dyn FnMut(Way, usize, &[u8]) -> bool>;

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// The world of one story.
pub(crate) struct Trial {
    pub(crate) now: Instant,
    pub(crate) room: SfuRoom,
    pub(crate) clients: Vec<Client>,
    pub(crate) events: Vec<RoomEvent>,
    pub(crate) routes: Vec<RouteUpdate>,
    pub(crate) loses: Loses,
    /// Milliseconds from one moment to the next.
    pub(crate) step: u64,
    /// The downlinks that are narrow.
    pub(crate) links: BTreeMap<usize, Link>,
    out: TransmitBuffer,
}

impl Trial {
    pub(crate) fn new(settings: RoomConfig) -> Self {
        let now = start();
        let address =
            |transport, text: &str| LocalCandidate { transport, address: text.parse().unwrap() };
        let candidates = vec![
            address(TransportProtocol::Udp, "192.0.2.1:3478"),
            address(TransportProtocol::Tcp, "192.0.2.1:3478"),
        ];
        Self {
            now,
            room: SfuRoom::new(now, 7, identity(), candidates, settings),
            clients: Vec::new(),
            events: Vec::new(),
            routes: Vec::new(),
            loses: Box::new(|_, _, _| false),
            step: 5,
            links: BTreeMap::new(),
            out: TransmitBuffer::default(),
        }
    }

    /// Somebody joins, without an offer yet; gives the client's place.
    pub(crate) fn join(&mut self) -> usize {
        let at = self.clients.len();
        let participant = ParticipantId(at as u32 + 1);
        self.room.join(self.now, participant);
        self.clients.push(Client::new(self.now, participant));
        at
    }

    /// Somebody joins with these sections and is connected.
    pub(crate) fn connect(&mut self, lines: &[OfferSection]) -> usize {
        let at = self.join();
        self.offer(at, lines);
        self.run(ms(50));
        assert!(self.clients[at].is_connected(), "{:?}", self.events);
        at
    }

    /// A client offers; the answer is understood.
    pub(crate) fn offer(&mut self, at: usize, lines: &[OfferSection]) -> String {
        let offer = self.clients[at].offer(lines);
        let participant = self.clients[at].participant;
        let answer = self.room.offer(self.now, participant, &offer).unwrap();
        self.clients[at].answered(self.now, lines, &answer);
        self.collect();
        answer
    }

    /// Time passes; everything that is sent arrives at once.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            if self.now >= end {
                return;
            }
            self.now += ms(self.step);
        }
    }

    /// Lets all that is under way arrive, without time passing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20 {
            let mut quiet = true;
            self.room.timeout(self.now);
            loop {
                self.out.clear();
                let more = self.room.transmit(self.now, &mut self.out);
                quiet &= self.out.datagrams().is_empty();
                self.deliver();
                if !more {
                    break;
                }
            }
            for at in 0..self.clients.len() {
                for (path, mut datagram) in self.clients[at].outgoing(self.now) {
                    quiet = false;
                    if !(self.loses)(Way::Up, at, &datagram) {
                        self.room.receive(self.now, path, &mut datagram);
                    }
                }
            }
            self.collect();
            if quiet {
                return;
            }
        }
    }

    fn deliver(&mut self) {
        for datagram in self.out.datagrams() {
            let bytes = &self.out.bytes()[datagram.start..][..datagram.length];
            let to = self.clients.iter().position(|client| client.paths.contains(&datagram.to));
            let Some(at) = to else { continue };
            if (self.loses)(Way::Down, at, bytes) {
                continue;
            }
            match self.links.get_mut(&at) {
                Some(link) => link.send(self.now, datagram.to, bytes),
                None => self.clients[at].receive(self.now, datagram.to, bytes),
            }
        }
        for (at, link) in &mut self.links {
            for (path, bytes) in link.arrived(self.now) {
                self.clients[*at].receive(self.now, path, &bytes);
            }
        }
    }

    pub(crate) fn collect(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.room.event()));
        self.routes.extend(std::iter::from_fn(|| self.room.route()));
    }

    /// The track of a participant that shows this.
    pub(crate) fn track(&self, at: usize, source: TrackSource) -> TrackId {
        let owner = self.clients[at].participant;
        let tracks = self.room.tracks();
        tracks.iter().find(|it| it.owner == owner && it.source == source).unwrap().id
    }

    /// A client sends pictures for a while, 25 per second, each of one packet; a key frame when it is
    /// asked for one.
    pub(crate) fn film(&mut self, at: usize, mid: &str, pictures: usize) {
        for _ in 0..pictures {
            self.clients[at].send_picture(mid);
            self.run(ms(40));
        }
    }
}

/// A layer or a track without layers, received.
pub(crate) fn screen(mid: &str, track: TrackId) -> OfferSection {
    OfferSection::new(mid, MediaKind::Video).receiving(track)
}

/// Some other address.
pub(crate) fn path(number: u16) -> NetworkPath {
    NetworkPath { transport: TransportProtocol::Udp, remote: ([198, 51, 100, 9], number).into() }
}

/// A section that publishes the microphone.
pub(crate) fn microphone() -> OfferSection {
    OfferSection::new("mic", MediaKind::Audio).sending()
}

/// A section that publishes the camera, without simulcast.
pub(crate) fn camera() -> OfferSection {
    OfferSection::new("cam", MediaKind::Video).sending()
}
