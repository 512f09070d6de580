//! Load clients around a room, in virtual time.

use super::*;
use crate::sim::{Simulation, certificate};
use crate::virtual_time::{ms, start};
use crate::{
    LocalCandidate, MediaKind, NetworkPath, ParticipantId, PublishOffer, RoomConfig, SfuRoom,
    TrackSource, TransmitBuffer, TransportProtocol,
};

struct World {
    now: Instant,
    room: SfuRoom,
    clients: Vec<TestPeer>,
    stamps: Vec<ReceivedPacket>,
    /// Counts what goes to subscribers; this one is lost.
    loses: Option<u32>,
}

impl World {
    fn new() -> Self {
        let now = start();
        let address = "192.0.2.1:3478".parse().unwrap();
        let candidates = vec![LocalCandidate { transport: TransportProtocol::Udp, address }];
        let room = SfuRoom::new(now, 7, certificate(), candidates, RoomConfig::default());
        Self { now, room, clients: Vec::new(), stamps: Vec::new(), loses: None }
    }

    fn path(at: usize) -> NetworkPath {
        let remote = SocketAddr::from(([203, 0, 113, 1], 1000 + at as u16));
        NetworkPath { transport: TransportProtocol::Udp, remote }
    }

    fn join(&mut self, lines: &[OfferSection]) -> usize {
        let at = self.clients.len();
        let participant = ParticipantId(at as u32 + 1);
        self.room.join(self.now, participant);
        let mut client = TestPeer::new(self.now, participant.0 * 16).unwrap();
        let sdp = client.offer(lines).unwrap();
        let receive =
            lines.iter().filter_map(|line| Some((line.mid.clone(), line.receives?))).collect();
        let offer = PublishOffer { sdp, receive, ..PublishOffer::default() };
        let answer = self.room.offer(self.now, participant, &offer).unwrap();
        client.answered(&answer).unwrap();
        self.clients.push(client);
        self.run(10);
        assert!(self.clients[at].is_connected());
        at
    }

    fn run(&mut self, moments: usize) {
        let mut out = TransmitBuffer::default();
        for _ in 0..moments {
            self.now += ms(5);
            for (at, client) in self.clients.iter_mut().enumerate() {
                let mut up = Vec::new();
                client.timeout(self.now, |datagram| up.push(datagram.to_vec()));
                for mut datagram in up {
                    self.room.receive(self.now, Self::path(at), &mut datagram);
                }
            }
            self.room.timeout(self.now);
            while self.room.transmit(self.now, &mut out) {}
            for datagram in out.datagrams() {
                let at = (0..self.clients.len()).find(|at| Self::path(*at) == datagram.to);
                let mut bytes = out.bytes()[datagram.start..][..datagram.length].to_vec();
                let media = bytes[0] >= 128 && !(192..=223).contains(&bytes[1]);
                if let Some(left) = self.loses.as_mut().filter(|_| media) {
                    *left = left.wrapping_sub(1);
                    if *left == 0 {
                        continue;
                    }
                }
                self.stamps.extend(self.clients[at.unwrap()].receive(self.now, &mut bytes));
            }
            out.clear();
            while self.room.event().is_some() {}
            while self.room.route().is_some() {}
        }
    }

    fn publish(&mut self, stamp: u64) {
        let mut sent = Vec::new();
        self.clients[0].publish(self.now, 0, stamp, (true, true), |it| sent = it.to_vec());
        self.room.receive(self.now, Self::path(0), &mut sent);
        self.run(1);
    }
}

fn two() -> World {
    let mut world = World::new();
    world.join(&[OfferSection::new("cam", MediaKind::Video).sending()]);
    let track = world.room.tracks().iter().find(|it| it.source == TrackSource::Camera).unwrap().id;
    world.join(&[OfferSection::new("0", MediaKind::Video).receiving(track)]);
    (0..20).for_each(|_| world.publish(0));
    world
}

#[test]
fn published_packet_arrives_with_its_stamp() {
    let mut world = two();
    let before = world.clients[1].tally();
    world.publish(0x1234_5678_9abc);

    assert_eq!(
        world.stamps.last(),
        Some(&ReceivedPacket { stamp: 0x1234_5678_9abc, again: false })
    );
    assert_eq!(world.clients[1].tally().received, before.received + 1);
    assert_eq!(world.clients[1].tally().missing, 0);
}

#[test]
fn lost_packet_is_requested_and_retransmitted() {
    let mut world = two();
    world.loses = Some(1);
    (1..4).for_each(|stamp| world.publish(stamp));
    world.run(20);

    let tally = world.clients[1].tally();
    assert_eq!((tally.missing, tally.repaired), (1, 1));
    assert!(world.stamps.contains(&ReceivedPacket { stamp: 1, again: true }));
}

#[test]
fn client_answers_server_offer() {
    let mut trial = Simulation::new(RoomConfig::default());
    let at = trial.join();
    let offer = trial.offer(at, &[crate::sim::camera()]);
    let offer = offer.replace("a=recvonly", "a=sendonly");
    let mut client = TestPeer::new(trial.now, 1).unwrap();
    let (answer, address) = client.accept(&offer).unwrap();

    assert_eq!(address, SocketAddr::from(([192, 0, 2, 1], 3478)));
    assert!(answer.contains("a=setup:active") && answer.contains("a=recvonly"));
    assert!(!answer.contains("a=candidate") && answer.contains("VP8/90000"));
}

#[test]
fn answer_without_udp_candidate_is_rejected() {
    let mut client = TestPeer::new(start(), 1).unwrap();
    let wrong = client.answered("v=0\r\na=ice-ufrag:x\r\na=ice-pwd:y\r\n").unwrap_err();
    assert_eq!(wrong, TestPeerError::Description("candidate over UDP"));
}

#[test]
fn ice_check_with_wrong_password_gets_no_response() {
    let mut world = World::new();
    world.join(&[OfferSection::new("cam", MediaKind::Video).sending()]);
    let client = &mut world.clients[0];
    let mut answers = Vec::new();
    for password in ["wrong", "no+secret+of+a+load+generator"] {
        let name = format!("{}:server", client.ice.ufrag);
        let mut check = check(&name, password, false).unwrap();
        client.receive(world.now, &mut check);
        client.timeout(world.now, |it| answers.extend((it[..2] == [1, 1]).then_some(password)));
    }

    assert_eq!(answers, ["no+secret+of+a+load+generator"]);
}
