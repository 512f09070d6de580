//! Offers that add, drop and reuse sections, and offers that are rejected.

use super::*;
use crate::OfferError;

fn pair() -> (Simulation, usize, TrackId) {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera()]);
    let track = sim.track_of(anna, TrackSource::Camera);
    sim.connect(&[receive_video("0", track)]);
    sim.send_video(anna, "cam", 5);
    (sim, anna, track)
}

fn events(sim: &Simulation) -> Vec<&RoomEvent> {
    let is_track_event =
        |event: &&RoomEvent| matches!(event, RoomEvent::Published(_) | RoomEvent::Unpublished(..));
    sim.events.iter().filter(is_track_event).collect()
}

#[test]
fn reoffer_keeps_connection_and_media_flow() {
    let (mut sim, anna, track) = pair();
    sim.offer(anna, &[camera(), microphone()]);
    sim.send_video(anna, "cam", 5);
    sim.clients[anna].send_audio("mic", 20);
    sim.run(ms(20));

    assert_eq!((events(&sim).len(), sim.room.tracks().len()), (2, 2));
    assert_eq!(sim.track_of(anna, TrackSource::Camera), track);
    assert_eq!(sim.room.counters().handshakes, 2);
    assert_eq!(sim.clients[1].received.len(), 10);
}

#[test]
fn stopped_section_unpublishes_track_and_can_be_reused() {
    let (mut sim, anna, track) = pair();
    let answer = sim.offer(anna, &[camera().stopped(), microphone()]);
    assert!(answer.contains("m=video 0 ") && answer.contains("a=group:BUNDLE mic\r\n"));
    assert!(sim.events.contains(&RoomEvent::Unpublished(track, ParticipantId(1))));
    let reused = OfferSection::new("again", MediaKind::Video).sending();
    sim.offer(anna, &[reused, microphone()]);
    let new = sim.track_of(anna, TrackSource::Camera);
    sim.offer(1, &[receive_video("0", new)]);
    sim.send_video(anna, "again", 5);

    assert_ne!(new, track);
    assert_eq!(sim.clients[1].received.len(), 10);
    let ssrc = |at: usize| sim.clients[1].received[at].ssrc;
    assert_ne!(ssrc(0), ssrc(9), "another track must use another SSRC");
}

#[test]
fn sendrecv_section_publishes_and_receives() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera()]);
    let anna_track = sim.track_of(anna, TrackSource::Camera);
    let boris =
        sim.connect(&[OfferSection::new("0", MediaKind::Video).sending().receiving(anna_track)]);
    let boris_track = sim.track_of(boris, TrackSource::Camera);
    let answer = sim.offer(anna, &[camera().receiving(boris_track)]);
    assert!(answer.contains("a=sendrecv"));
    for _ in 0..5 {
        sim.clients[boris].send_frame("0");
        sim.send_video(anna, "cam", 1);
    }

    assert_eq!(sim.clients[anna].received.len(), 5);
    assert_eq!(sim.clients[boris].received.len(), 5);
}

#[test]
fn answer_to_subscriber_uses_codec_of_published_track() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera().with_formats(&[102, 103, 96, 97])]);
    let track = sim.track_of(anna, TrackSource::Camera);
    let boris = sim.join();
    let answer = sim.offer(boris, &[receive_video("0", track)]);
    assert!(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n"), "{answer}");
    assert!(answer.contains("profile-level-id=42e01f"));
    assert!(answer.contains(&format!("a=msid:1 {}\r\n", track.0)));
    let carla = sim.join();
    let answer = sim.offer(carla, &[receive_video("0", track).with_formats(&[96, 97])]);

    assert!(answer.contains("a=inactive"), "a format it cannot decode is not sent");
}

#[test]
fn unanswerable_offer_is_rejected_without_side_effects() {
    let (mut sim, anna, track) = pair();
    let before = (sim.room.tracks(), sim.events.len());
    let mut offer = |sections: &[OfferSection], change: &dyn Fn(String) -> String| {
        let mut offer = sim.clients[anna].offer(sections);
        offer.sdp = change(offer.sdp);
        sim.room.offer(sim.now, ParticipantId(1), &offer)
    };
    let unchanged = |sdp: String| sdp;
    assert!(matches!(offer(&[], &|_| "rubbish".into()), Err(OfferError::InvalidDescription(_))));
    let sha1 = |sdp: String| sdp.replace("sha-256", "sha-1");
    assert!(matches!(offer(&[camera()], &sha1), Err(OfferError::InvalidDescription(_))));
    let missing = TrackId(99);
    assert_eq!(
        offer(&[receive_video("0", missing)], &unchanged),
        Err(OfferError::TrackNotFound(missing))
    );
    let duplicate = [receive_video("0", track), receive_video("1", track)];
    assert!(matches!(offer(&duplicate, &unchanged), Err(OfferError::InvalidDescription(_))));
    let too_many_tracks: Vec<OfferSection> =
        (0..7).map(|n| OfferSection::new(&n.to_string(), MediaKind::Video).sending()).collect();
    assert_eq!(offer(&too_many_tracks, &unchanged), Err(OfferError::LimitReached));
    let too_many_sections: Vec<OfferSection> =
        (0..300).map(|n| OfferSection::new(&n.to_string(), MediaKind::Video)).collect();
    assert_eq!(offer(&too_many_sections, &unchanged), Err(OfferError::LimitReached));
    let unknown = sim.room.offer(sim.now, ParticipantId(77), &PublishOffer::default());
    assert_eq!(unknown, Err(OfferError::ParticipantNotFound));
    sim.collect();

    assert_eq!((sim.room.tracks(), sim.events.len()), before);
}

#[test]
fn unsupported_sections_are_rejected_individually() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.join();
    let mut offer = sim.clients[anna].offer(&[camera(), microphone()]);
    let tail = offer.sdp.split_off(offer.sdp.find("m=audio").unwrap());
    offer.sdp.push_str(&tail.replace("a=rtcp-mux\r\n", ""));
    offer.sdp.push_str(
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:data\r\n",
    );
    let answer = sim.room.offer(sim.now, ParticipantId(1), &offer).unwrap();

    assert!(answer.contains("m=audio 0 ") && answer.contains("m=application 0 "));
    assert!(answer.contains("a=group:BUNDLE cam\r\n"));
    assert_eq!(sim.room.tracks().len(), 1);
}

#[test]
fn leaving_participant_unpublishes_its_tracks() {
    let (mut sim, _, track) = pair();
    sim.room.leave(sim.now, ParticipantId(1));
    sim.run(ms(20));

    assert!(sim.events.contains(&RoomEvent::Unpublished(track, ParticipantId(1))));
    assert!(sim.room.tracks().is_empty());
    assert_eq!(sim.room.participants(), [ParticipantId(2)]);
}

#[test]
fn published_track_source_comes_from_offer() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.join();
    let sections = [camera(), OfferSection::new("share", MediaKind::Video).sending(), microphone()];
    let mut offer = sim.clients[anna].offer(&sections);
    offer.publish.insert("share".into(), TrackSource::Screen);
    sim.room.offer(sim.now, ParticipantId(1), &offer).unwrap();
    let mut sources: Vec<TrackSource> = sim.room.tracks().iter().map(|it| it.source).collect();
    sources.sort_by_key(|source| *source as u8);
    assert_eq!(sources, [TrackSource::Microphone, TrackSource::Camera, TrackSource::Screen]);
    offer.publish.insert("mic".into(), TrackSource::Camera);

    let rejected = sim.room.offer(sim.now, ParticipantId(1), &offer);
    assert!(matches!(rejected, Err(OfferError::InvalidDescription(_))));
}
