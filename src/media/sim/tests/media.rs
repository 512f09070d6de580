//! Sound and pictures between people: key frames, repairs, silence, who speaks.

use super::*;
use crate::rtcp::{self, CompoundWriter};
use crate::sim::client::Received;
use crate::srtp::SrtpProfile;

/// Anna publishes sound and picture, Boris receives both.
fn pair() -> (Trial, usize, usize) {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[microphone(), camera()]);
    let boris = watcher(&mut trial, anna);
    (trial, anna, boris)
}

fn watcher(trial: &mut Trial, anna: usize) -> usize {
    let voice = trial.track(anna, TrackSource::Microphone);
    let picture = trial.track(anna, TrackSource::Camera);
    trial
        .connect(&[OfferSection::new("0", MediaKind::Audio).receiving(voice), screen("1", picture)])
}

fn of<'a>(trial: &'a Trial, at: usize, mid: &str) -> Vec<&'a Received> {
    let all = trial.clients[at].received.iter();
    all.filter(|it| it.mid == mid && !it.payload.is_empty()).collect()
}

/// Whether the picture is a key frame, as [`Client::send_picture`] makes it.
fn is_key(packet: &Received) -> bool {
    packet.payload[4] == 0
}

#[test]
fn two_participants_receive_audio_and_video() {
    let (mut trial, anna, boris) = pair();
    trial.film(anna, "cam", 10);
    for _ in 0..10 {
        trial.clients[anna].send_sound("mic", 20);
        trial.run(ms(20));
    }

    assert_eq!((of(&trial, boris, "0").len(), of(&trial, boris, "1").len()), (10, 10));
    assert!(of(&trial, boris, "0").iter().all(|packet| packet.level == Some(20)));
    assert_eq!(trial.clients[boris].profile(), SrtpProfile::AeadAes128Gcm);
    let first = |event: &RoomEvent| matches!(event, RoomEvent::FirstMedia(ParticipantId(1), _));
    assert_eq!(trial.events.iter().filter(|event| first(event)).count(), 1);
}

#[test]
fn late_subscriber_starts_with_key_frame() {
    let (mut trial, anna, _) = pair();
    trial.film(anna, "cam", 20);
    let asked = trial.clients[anna].keys_asked;
    let late = watcher(&mut trial, anna);
    trial.film(anna, "cam", 20);

    assert_eq!(trial.clients[anna].keys_asked, asked + 1);
    let seen = of(&trial, late, "1");
    assert!(is_key(seen[0]) && seen.len() >= 18, "{}", seen.len());
    assert!(seen[0].index < 1 << 16, "the rollover counter begins at zero");
}

#[test]
fn simultaneous_joins_request_one_key_frame() {
    let (mut trial, anna, _) = pair();
    trial.film(anna, "cam", 20);
    let asked = trial.clients[anna].keys_asked;
    let picture = trial.track(anna, TrackSource::Camera);
    let many: Vec<usize> = (0..8).map(|_| trial.join()).collect();
    many.iter().for_each(|at| drop(trial.offer(*at, &[screen("1", picture)])));
    trial.film(anna, "cam", 10);

    assert_eq!(trial.clients[anna].keys_asked, asked + 1);
    assert!(many.iter().all(|at| is_key(of(&trial, *at, "1")[0])));
}

#[test]
fn nacked_packet_is_retransmitted_from_packet_cache() {
    let (mut trial, anna, boris) = pair();
    trial.film(anna, "cam", 3);
    let mut lost = 0;
    trial.loses = Box::new(move |way, at, datagram| {
        let media = datagram[0] >> 6 == 2 && datagram[1] & 0x7f == 96;
        lost += u32::from(way == Way::Down && at == boris && media);
        way == Way::Down && at == boris && media && lost == 2
    });
    trial.film(anna, "cam", 4);
    let seen = of(&trial, boris, "1");
    let indices: Vec<u64> = seen.iter().map(|it| it.index).collect();
    let hole = (indices[0]..).find(|index| !indices.contains(index)).unwrap();
    let (ssrc, before) = (seen[0].ssrc, seen[0].payload[2..4].to_vec());
    trial.clients[boris].tell(|compound| compound.nack(5, ssrc, &[hole as u16]));
    trial.run(ms(10));

    let again = trial.clients[boris].received.last().unwrap();
    assert_eq!((again.payload_type, again.mid.as_str()), (97, "1"));
    assert_eq!(again.payload[..2], (hole as u16).to_be_bytes());
    let picture = |bytes: &[u8]| u16::from_be_bytes([bytes[0] & 0x7f, bytes[1]]);
    let nth = u16::try_from(hole - indices[0]).unwrap();
    assert_eq!(picture(&again.payload[4..6]), picture(&before) + nth);
    assert_eq!(trial.room.counters().rtx_out, 1);
}

#[test]
fn duplicate_nack_within_rtt_causes_one_retransmission() {
    let (mut trial, anna, boris) = pair();
    trial.film(anna, "cam", 3);
    let seen = of(&trial, boris, "1");
    let (ssrc, last) = (seen[0].ssrc, seen[2].index as u16);
    for _ in 0..3 {
        trial.clients[boris].tell(|compound| compound.nack(5, ssrc, &[last]));
    }
    trial.run(ms(5));

    let counters = trial.room.counters();
    assert_eq!((counters.nack_in, counters.rtx_out), (3, 1));
}

#[test]
fn lost_uplink_packet_is_nacked_once_and_forwarded() {
    let (mut trial, anna, boris) = pair();
    trial.film(anna, "cam", 3);
    let mut count = 0;
    trial.loses = Box::new(move |way, at, datagram| {
        let media = datagram[0] >> 6 == 2 && datagram[1] & 0x7f == 96;
        count += usize::from(way == Way::Up && at == anna && media);
        way == Way::Up && at == anna && media && count % 5 == 0
    });
    trial.film(anna, "cam", 24);

    let counters = trial.room.counters();
    assert_eq!((counters.nack_out, counters.rtx_in), (4, 4));
    let mut indices: Vec<u64> = of(&trial, boris, "1").iter().map(|it| it.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, (indices[0]..indices[0] + 27).collect::<Vec<_>>());
}

#[test]
fn late_original_after_rtx_is_not_forwarded_again() {
    let (mut trial, anna, boris) = pair();
    trial.film(anna, "cam", 3);
    let late = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = late.clone();
    trial.loses = Box::new(move |way, at, datagram| {
        let media = datagram[0] >> 6 == 2 && datagram[1] & 0x7f == 96;
        let first = way == Way::Up && at == anna && media && kept.lock().unwrap().is_empty();
        if first {
            *kept.lock().unwrap() = datagram.to_vec();
        }
        first
    });
    trial.film(anna, "cam", 5);
    let mut late = late.lock().unwrap().clone();
    let path = trial.clients[anna].path;
    trial.room.receive(trial.now, path, &mut late);
    trial.film(anna, "cam", 2); // the client complains of a number that is used twice

    assert_eq!(trial.room.counters().rtx_in, 1);
    assert_eq!(of(&trial, boris, "1").len(), 10);
}

#[test]
fn unmuted_track_resumes_with_key_frame() {
    let (mut trial, anna, boris) = pair();
    trial.film(anna, "cam", 5);
    trial.room.mute(trial.now, ParticipantId(1), MediaKind::Video, true);
    trial.room.mute(trial.now, ParticipantId(1), MediaKind::Audio, true);
    trial.film(anna, "cam", 5);
    trial.clients[anna].send_sound("mic", 20);
    trial.run(ms(20));
    assert_eq!((of(&trial, boris, "0").len(), of(&trial, boris, "1").len()), (0, 5));
    trial.room.mute(trial.now, ParticipantId(1), MediaKind::Video, false);
    trial.film(anna, "cam", 6);

    let seen = of(&trial, boris, "1");
    assert!(seen.len() >= 10 && is_key(seen[5]));
    assert_eq!(seen[5].index, seen[4].index + 1, "no hole is left to be asked for");
    assert!(seen[5].timestamp.wrapping_sub(seen[4].timestamp) > 4 * 3600);
}

#[test]
fn muting_camera_keeps_screen_share() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.join();
    let lines = [camera(), OfferSection::new("share", MediaKind::Video).sending()];
    let mut offer = trial.clients[anna].offer(&lines);
    offer.publish.insert("share".into(), TrackSource::Screen);
    let answer = trial.room.offer(trial.now, ParticipantId(1), &offer).unwrap();
    trial.clients[anna].answered(trial.now, &lines, &answer);
    trial.settle();
    let (picture, shared) =
        (trial.track(anna, TrackSource::Camera), trial.track(anna, TrackSource::Screen));
    let boris = trial.connect(&[screen("0", picture), screen("1", shared)]);
    trial.room.mute(trial.now, ParticipantId(1), MediaKind::Video, true);
    trial.film(anna, "cam", 5);
    trial.film(anna, "share", 5);

    assert_eq!((of(&trial, boris, "0").len(), of(&trial, boris, "1").len()), (0, 5));
}

#[test]
fn silence_is_forwarded_six_times_then_sampled() {
    let (mut trial, anna, boris) = pair();
    for level in [30, 127, 127, 127, 127, 127, 127, 127, 127, 127, 30, 30] {
        trial.clients[anna].send_sound("mic", level);
        trial.run(ms(20));
    }

    let heard = of(&trial, boris, "0");
    assert_eq!(heard.len(), 9);
    let indices: Vec<u64> = heard.iter().map(|it| it.index - heard[0].index).collect();
    assert_eq!(indices, (0..9).collect::<Vec<_>>());
    trial.clients[boris].received.clear();
    for _ in 0..200 {
        trial.clients[anna].send_sound("mic", 127);
        trial.run(ms(20));
    }
    assert!((14..=16).contains(&of(&trial, boris, "0").len()), "six, and one in 400 ms");
}

#[test]
fn speakers_are_reported_and_only_loudest_n_forwarded() {
    let mut trial = Trial::new(RoomConfig { last_n_audio: 1, ..RoomConfig::default() });
    let people: Vec<usize> = (0..3).map(|_| trial.connect(&[microphone()])).collect();
    let voices: Vec<OfferSection> = people
        .iter()
        .map(|at| {
            let track = trial.track(*at, TrackSource::Microphone);
            OfferSection::new(&at.to_string(), MediaKind::Audio).receiving(track)
        })
        .collect();
    let listener = trial.connect(&voices);
    for _ in 0..100 {
        for (at, level) in [(0, 70), (1, 10), (2, 80)] {
            trial.clients[at].send_sound("mic", level);
        }
        trial.run(ms(20));
    }

    assert!(trial.events.contains(&RoomEvent::Speakers(vec![ParticipantId(2)])));
    let late = trial.now - ms(500);
    let heard = trial.clients[listener].received.iter().filter(|it| it.at > late);
    assert!(heard.map(|it| it.mid.as_str()).all(|mid| mid == "1"));
    assert!(trial.clients[listener].received.iter().filter(|it| it.mid == "1").count() > 90);
}

#[test]
fn red_audio_is_unwrapped_for_subscriber_without_red() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[microphone().with_formats(&[63, 111])]);
    let voice = trial.track(anna, TrackSource::Microphone);
    let knows = trial.connect(&[OfferSection::new("0", MediaKind::Audio).receiving(voice)]);
    let plain = OfferSection::new("0", MediaKind::Audio).receiving(voice).with_formats(&[111]);
    let plain = trial.connect(&[plain]);
    let payload = [0x80 | 111, 0x0f, 0, 3, 111, 7, 7, 7, 1, 2];
    trial.clients[anna].send(0, 63, &payload, Some(20));
    trial.run(ms(20));

    let got = |at: usize| {
        let packet = &trial.clients[at].received[0];
        (packet.payload_type, packet.payload.clone())
    };
    assert_eq!(got(knows), (63, payload.to_vec()));
    assert_eq!(got(plain), (111, vec![1, 2]));
}

#[test]
fn sender_reports_to_subscribers_use_publisher_clock() {
    let (mut trial, anna, boris) = pair();
    trial.film(anna, "cam", 10);
    let (ssrc, timestamp) = trial.clients[anna].clock("cam");
    let report = rtcp::SenderInfo { ssrc, ntp: 77 << 32, timestamp };
    trial.clients[anna].tell(|compound| compound.sender(&report, 10, 100));
    trial.clients[boris].told.clear();
    trial.run(ms(1_100));

    let told = trial.clients[boris].told.iter().find(|it| it.1 == rtcp::SENDER).unwrap();
    let part = rtcp::RtcpPacket { count: told.0, kind: told.1, body: &told.2 };
    let ours = part.sender_report().unwrap();
    let last = of(&trial, boris, "1").last().unwrap().timestamp;
    let elapsed = (ours.ntp - report.ntp) as f64 / 4_294_967_296.0;
    let ticks = f64::from(ours.timestamp.wrapping_sub(last));
    assert!((ticks - elapsed * 90_000.0).abs() < 2.0, "{ticks} {elapsed}");

    let word = (ours.ntp >> 16) as u32;
    let block =
        rtcp::ReportBlock { ssrc: ours.ssrc, last_report: word, ..rtcp::ReportBlock::default() };
    trial.run(ms(100));
    trial.clients[boris].tell(|compound: &mut CompoundWriter| compound.receiver(9, &[block]));
    trial.run(ms(6_000));
    let told = trial.events.iter().rev().find_map(|event| match event {
        RoomEvent::Quality(ParticipantId(2), quality) => Some(quality.round_trip),
        _ => None,
    });
    assert!(told.is_some_and(|it| it > ms(50) && it < ms(1_500)), "{told:?}");
}

#[test]
fn publisher_receives_twcc_and_receiver_reports() {
    let (mut trial, anna, _) = pair();
    trial.film(anna, "cam", 30);

    let told = &trial.clients[anna].told;
    assert!(told.iter().any(|it| (it.0, it.1) == (rtcp::TRANSPORT_WIDE, rtcp::TRANSPORT)));
    let block = told
        .iter()
        .filter(|it| it.1 == rtcp::RECEIVER)
        .find_map(|it| rtcp::RtcpPacket { count: it.0, kind: it.1, body: &it.2 }.blocks().next());
    assert!(block.is_some_and(|block| block.lost == 0 && block.highest > 65_530), "{block:?}");
}

#[test]
fn media_quality_is_reported_per_participant() {
    let (mut trial, anna, boris) = pair();
    let mut count = 0;
    trial.loses = Box::new(move |way, at, datagram| {
        let media = datagram[0] >> 6 == 2 && datagram[1] & 0x7f == 96;
        count += usize::from(way == Way::Up && at == anna && media);
        way == Way::Up && at == anna && media && count % 4 == 0
    });
    trial.film(anna, "cam", 130);
    trial.run(ms(800)); // nothing comes: the picture stands still
    trial.film(anna, "cam", 130);

    let told = |who: u32| {
        trial.events.iter().rev().find_map(|event| match event {
            RoomEvent::Quality(participant, quality) if participant.0 == who => Some(*quality),
            _ => None,
        })
    };
    let (hers, his) = (told(1).unwrap(), told(2).unwrap());
    assert!((0.15..0.35).contains(&hers.up_loss), "{hers:?}");
    assert!(hers.up_bitrate > 5_000 && his.down_bitrate > 5_000, "{hers:?} {his:?}");
    let freezes: u32 = trial
        .events
        .iter()
        .map(|event| match event {
            RoomEvent::Quality(ParticipantId(2), quality) => quality.freezes,
            _ => 0,
        })
        .sum();
    assert_eq!((freezes, trial.room.counters().freezes), (1, 1));
    assert!(trial.clients[boris].received.len() > 200);
}
