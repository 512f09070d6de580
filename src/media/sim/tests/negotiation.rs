//! Offers that add, drop and reuse sections; what is refused.

use super::*;
use crate::OfferError;

fn pair() -> (Trial, usize, TrackId) {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera()]);
    let track = trial.track(anna, TrackSource::Camera);
    trial.connect(&[screen("0", track)]);
    trial.film(anna, "cam", 5);
    (trial, anna, track)
}

fn events(trial: &Trial) -> Vec<&RoomEvent> {
    let about =
        |event: &&RoomEvent| matches!(event, RoomEvent::Published(_) | RoomEvent::Unpublished(..));
    trial.events.iter().filter(about).collect()
}

#[test]
fn reoffer_keeps_connection_and_media_flow() {
    let (mut trial, anna, track) = pair();
    trial.offer(anna, &[camera(), microphone()]);
    trial.film(anna, "cam", 5);
    trial.clients[anna].send_sound("mic", 20);
    trial.run(ms(20));

    assert_eq!((events(&trial).len(), trial.room.tracks().len()), (2, 2));
    assert_eq!(trial.track(anna, TrackSource::Camera), track);
    assert_eq!(trial.room.counters().handshakes, 2);
    assert_eq!(trial.clients[1].received.len(), 10);
}

#[test]
fn stopped_section_unpublishes_track_and_can_be_reused() {
    let (mut trial, anna, track) = pair();
    let answer = trial.offer(anna, &[camera().stopped(), microphone()]);
    assert!(answer.contains("m=video 0 ") && answer.contains("a=group:BUNDLE mic\r\n"));
    assert!(trial.events.contains(&RoomEvent::Unpublished(track, ParticipantId(1))));
    let again = OfferSection::new("again", MediaKind::Video).sending();
    trial.offer(anna, &[again, microphone()]);
    let new = trial.track(anna, TrackSource::Camera);
    trial.offer(1, &[screen("0", new)]);
    trial.film(anna, "again", 5);

    assert_ne!(new, track);
    assert_eq!(trial.clients[1].received.len(), 10);
    let ssrc = |at: usize| trial.clients[1].received[at].ssrc;
    assert_ne!(ssrc(0), ssrc(9), "another track is another stream");
}

#[test]
fn sendrecv_section_publishes_and_receives() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera()]);
    let hers = trial.track(anna, TrackSource::Camera);
    let boris =
        trial.connect(&[OfferSection::new("0", MediaKind::Video).sending().receiving(hers)]);
    let his = trial.track(boris, TrackSource::Camera);
    let answer = trial.offer(anna, &[camera().receiving(his)]);
    assert!(answer.contains("a=sendrecv"));
    for _ in 0..5 {
        trial.clients[boris].send_picture("0");
        trial.film(anna, "cam", 1);
    }

    assert_eq!(trial.clients[anna].received.len(), 5);
    assert_eq!(trial.clients[boris].received.len(), 5);
}

#[test]
fn answer_to_subscriber_uses_codec_of_published_track() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera().with_formats(&[102, 103, 96, 97])]);
    let track = trial.track(anna, TrackSource::Camera);
    let boris = trial.join();
    let answer = trial.offer(boris, &[screen("0", track)]);
    assert!(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n"), "{answer}");
    assert!(answer.contains("profile-level-id=42e01f"));
    assert!(answer.contains(&format!("a=msid:1 {}\r\n", track.0)));
    let carla = trial.join();
    let answer = trial.offer(carla, &[screen("0", track).with_formats(&[96, 97])]);

    assert!(answer.contains("a=inactive"), "what it cannot decode it is not sent");
}

#[test]
fn unanswerable_offer_is_rejected_without_side_effects() {
    let (mut trial, anna, track) = pair();
    let before = (trial.room.tracks(), trial.events.len());
    let mut offer = |lines: &[OfferSection], change: &dyn Fn(String) -> String| {
        let mut offer = trial.clients[anna].offer(lines);
        offer.sdp = change(offer.sdp);
        trial.room.offer(trial.now, ParticipantId(1), &offer)
    };
    let same = |sdp: String| sdp;
    assert!(matches!(offer(&[], &|_| "rubbish".into()), Err(OfferError::Unusable(_))));
    let sha1 = |sdp: String| sdp.replace("sha-256", "sha-1");
    assert!(matches!(offer(&[camera()], &sha1), Err(OfferError::Unusable(_))));
    let missing = TrackId(99);
    assert_eq!(offer(&[screen("0", missing)], &same), Err(OfferError::NoSuchTrack(missing)));
    let twice = [screen("0", track), screen("1", track)];
    assert!(matches!(offer(&twice, &same), Err(OfferError::Unusable(_))));
    let many: Vec<OfferSection> =
        (0..7).map(|n| OfferSection::new(&n.to_string(), MediaKind::Video).sending()).collect();
    assert_eq!(offer(&many, &same), Err(OfferError::TooMuch));
    let long: Vec<OfferSection> =
        (0..300).map(|n| OfferSection::new(&n.to_string(), MediaKind::Video)).collect();
    assert_eq!(offer(&long, &same), Err(OfferError::TooMuch));
    let nobody = trial.room.offer(trial.now, ParticipantId(77), &PublishOffer::default());
    assert_eq!(nobody, Err(OfferError::NoSuchParticipant));
    trial.collect();

    assert_eq!((trial.room.tracks(), trial.events.len()), before);
}

#[test]
fn unsupported_sections_are_rejected_individually() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.join();
    let mut offer = trial.clients[anna].offer(&[camera(), microphone()]);
    let tail = offer.sdp.split_off(offer.sdp.find("m=audio").unwrap());
    offer.sdp.push_str(&tail.replace("a=rtcp-mux\r\n", ""));
    offer.sdp.push_str(
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:data\r\n",
    );
    let answer = trial.room.offer(trial.now, ParticipantId(1), &offer).unwrap();

    assert!(answer.contains("m=audio 0 ") && answer.contains("m=application 0 "));
    assert!(answer.contains("a=group:BUNDLE cam\r\n"));
    assert_eq!(trial.room.tracks().len(), 1);
}

#[test]
fn leaving_participant_unpublishes_its_tracks() {
    let (mut trial, _, track) = pair();
    trial.room.leave(trial.now, ParticipantId(1));
    trial.run(ms(20));

    assert!(trial.events.contains(&RoomEvent::Unpublished(track, ParticipantId(1))));
    assert!(trial.room.tracks().is_empty());
    assert_eq!(trial.room.participants(), [ParticipantId(2)]);
}

#[test]
fn published_track_source_comes_from_offer() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.join();
    let lines = [camera(), OfferSection::new("share", MediaKind::Video).sending(), microphone()];
    let mut offer = trial.clients[anna].offer(&lines);
    offer.publish.insert("share".into(), TrackSource::Screen);
    trial.room.offer(trial.now, ParticipantId(1), &offer).unwrap();
    let mut sources: Vec<TrackSource> = trial.room.tracks().iter().map(|it| it.source).collect();
    sources.sort_by_key(|source| *source as u8);
    assert_eq!(sources, [TrackSource::Microphone, TrackSource::Camera, TrackSource::Screen]);
    offer.publish.insert("mic".into(), TrackSource::Camera);

    let refused = trial.room.offer(trial.now, ParticipantId(1), &offer);
    assert!(matches!(refused, Err(OfferError::Unusable(_))));
}
