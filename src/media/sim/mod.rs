//! Simulation harness: a room with clients, in virtual time and without sockets.

mod client;
mod link;
mod media;
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub(crate) use client::{Client, check};
pub(crate) use link::Link;

pub(crate) use crate::test_peer::{OfferSection, text};
use crate::virtual_time::{ms, start};
use crate::{
    DtlsCertificate, LocalCandidate, MediaKind, NetworkPath, ParticipantId, PublishOffer,
    RoomConfig, RoomEvent, RouteUpdate, SfuRoom, TrackId, TrackSource, TransmitBuffer,
    TransportProtocol,
};

/// The certificate of all tests, since generating one takes time.
pub(crate) fn certificate() -> Arc<DtlsCertificate> {
    static ONE: OnceLock<Arc<DtlsCertificate>> = OnceLock::new();
    ONE.get_or_init(|| Arc::new(DtlsCertificate::generate().unwrap())).clone()
}

/// Decides whether a datagram is lost: by direction, index of the client, and bytes.
pub(crate) type DropFilter = Box<dyn FnMut(Direction, usize, &[u8]) -> bool>;

/// Direction of a datagram, as seen by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// A simulated room and its clients.
pub(crate) struct Simulation {
    pub(crate) now: Instant,
    pub(crate) room: SfuRoom,
    pub(crate) clients: Vec<Client>,
    pub(crate) events: Vec<RoomEvent>,
    pub(crate) routes: Vec<RouteUpdate>,
    pub(crate) is_dropped: DropFilter,
    /// Milliseconds by which time advances.
    pub(crate) step_ms: u64,
    /// Downlinks with limited capacity, by client.
    pub(crate) links: BTreeMap<usize, Link>,
    out: TransmitBuffer,
}

impl Simulation {
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
            room: SfuRoom::new(now, 7, certificate(), candidates, settings),
            clients: Vec::new(),
            events: Vec::new(),
            routes: Vec::new(),
            is_dropped: Box::new(|_, _, _| false),
            step_ms: 5,
            links: BTreeMap::new(),
            out: TransmitBuffer::default(),
        }
    }

    /// Adds a participant without an offer; returns the index of its client.
    pub(crate) fn join(&mut self) -> usize {
        let client = self.clients.len();
        let participant = ParticipantId(client as u32 + 1);
        self.room.join(self.now, participant);
        self.clients.push(Client::new(self.now, participant));
        client
    }

    /// Adds a participant with these sections and connects it.
    pub(crate) fn connect(&mut self, sections: &[OfferSection]) -> usize {
        let client = self.join();
        self.offer(client, sections);
        self.run(ms(50));
        assert!(self.clients[client].is_connected(), "{:?}", self.events);
        client
    }

    /// Lets a client send an offer and process the answer.
    pub(crate) fn offer(&mut self, client: usize, sections: &[OfferSection]) -> String {
        let offer = self.clients[client].offer(sections);
        let participant = self.clients[client].participant;
        let answer = self.room.offer(self.now, participant, &offer).unwrap();
        self.clients[client].on_answer(self.now, sections, &answer);
        self.collect();
        answer
    }

    /// Advances time; datagrams arrive at once unless the downlink is limited.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.exchange();
            if self.now >= end {
                return;
            }
            self.now += ms(self.step_ms);
        }
    }

    /// Exchanges datagrams until none is left, without advancing time.
    pub(crate) fn exchange(&mut self) {
        for _ in 0..20 {
            let mut is_quiet = true;
            self.room.timeout(self.now);
            loop {
                self.out.clear();
                let more = self.room.transmit(self.now, &mut self.out);
                is_quiet &= self.out.datagrams().is_empty();
                self.deliver();
                if !more {
                    break;
                }
            }
            for client in 0..self.clients.len() {
                for (path, mut datagram) in self.clients[client].outgoing(self.now) {
                    is_quiet = false;
                    if !(self.is_dropped)(Direction::Up, client, &datagram) {
                        self.room.receive(self.now, path, &mut datagram);
                    }
                }
            }
            self.collect();
            if is_quiet {
                return;
            }
        }
    }

    fn deliver(&mut self) {
        for datagram in self.out.datagrams() {
            let bytes = &self.out.bytes()[datagram.start..][..datagram.length];
            let client = self.clients.iter().position(|client| client.paths.contains(&datagram.to));
            let Some(client) = client else { continue };
            if (self.is_dropped)(Direction::Down, client, bytes) {
                continue;
            }
            match self.links.get_mut(&client) {
                Some(link) => link.send(self.now, datagram.to, bytes),
                None => self.clients[client].receive(self.now, datagram.to, bytes),
            }
        }
        for (client, link) in &mut self.links {
            for (path, bytes) in link.take_arrived(self.now) {
                self.clients[*client].receive(self.now, path, &bytes);
            }
        }
    }

    pub(crate) fn collect(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.room.event()));
        self.routes.extend(std::iter::from_fn(|| self.room.route()));
    }

    /// The track of a client with this source.
    pub(crate) fn track_of(&self, client: usize, source: TrackSource) -> TrackId {
        let owner = self.clients[client].participant;
        let tracks = self.room.tracks();
        tracks.iter().find(|track| track.owner == owner && track.source == source).unwrap().id
    }

    /// A client sends video at 25 frames per second, one packet per frame; a key frame when one is
    /// requested.
    pub(crate) fn send_video(&mut self, client: usize, mid: &str, frames: usize) {
        for _ in 0..frames {
            self.clients[client].send_frame(mid);
            self.run(ms(40));
        }
    }
}

/// A section that receives a video track.
pub(crate) fn receive_video(mid: &str, track: TrackId) -> OfferSection {
    OfferSection::new(mid, MediaKind::Video).receiving(track)
}

/// A network path of an address that no client uses.
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
