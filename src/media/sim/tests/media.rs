//! Audio and video between participants: key frames, retransmissions, silence, active speakers.

use super::*;
use crate::rtcp::{self, CompoundWriter};
use crate::sim::client::ReceivedPacket;
use crate::srtp::SrtpProfile;

/// Anna publishes audio and video, Boris receives both.
fn pair() -> (Simulation, usize, usize) {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[microphone(), camera()]);
    let boris = subscribe(&mut sim, anna);
    (sim, anna, boris)
}

fn subscribe(sim: &mut Simulation, anna: usize) -> usize {
    let audio = sim.track_of(anna, TrackSource::Microphone);
    let video = sim.track_of(anna, TrackSource::Camera);
    sim.connect(&[
        OfferSection::new("0", MediaKind::Audio).receiving(audio),
        receive_video("1", video),
    ])
}

fn packets<'a>(sim: &'a Simulation, at: usize, mid: &str) -> Vec<&'a ReceivedPacket> {
    let all = sim.clients[at].received.iter();
    all.filter(|packet| packet.mid == mid && !packet.payload.is_empty()).collect()
}

/// Whether the packet starts a key frame, as [`Client::send_frame`] marks it.
fn is_key(packet: &ReceivedPacket) -> bool {
    packet.payload[4] == 0
}

#[test]
fn two_participants_receive_audio_and_video() {
    let (mut sim, anna, boris) = pair();
    sim.send_video(anna, "cam", 10);
    for _ in 0..10 {
        sim.clients[anna].send_audio("mic", 20);
        sim.run(ms(20));
    }

    assert_eq!((packets(&sim, boris, "0").len(), packets(&sim, boris, "1").len()), (10, 10));
    assert!(packets(&sim, boris, "0").iter().all(|packet| packet.audio_level == Some(20)));
    assert_eq!(sim.clients[boris].profile(), SrtpProfile::AeadAes128Gcm);
    let first = |event: &RoomEvent| matches!(event, RoomEvent::FirstMedia(ParticipantId(1), _));
    assert_eq!(sim.events.iter().filter(|event| first(event)).count(), 1);
}

#[test]
fn late_subscriber_starts_with_key_frame() {
    let (mut sim, anna, _) = pair();
    sim.send_video(anna, "cam", 20);
    let requests_before = sim.clients[anna].key_frame_requests;
    let late_subscriber = subscribe(&mut sim, anna);
    sim.send_video(anna, "cam", 20);

    assert_eq!(sim.clients[anna].key_frame_requests, requests_before + 1);
    let received = packets(&sim, late_subscriber, "1");
    assert!(is_key(received[0]) && received.len() >= 18, "{}", received.len());
    assert!(received[0].index < 1 << 16, "the rollover counter starts at zero");
}

#[test]
fn simultaneous_joins_request_one_key_frame() {
    let (mut sim, anna, _) = pair();
    sim.send_video(anna, "cam", 20);
    let requests_before = sim.clients[anna].key_frame_requests;
    let video = sim.track_of(anna, TrackSource::Camera);
    let subscribers: Vec<usize> = (0..8).map(|_| sim.join()).collect();
    subscribers.iter().for_each(|at| drop(sim.offer(*at, &[receive_video("1", video)])));
    sim.send_video(anna, "cam", 10);

    assert_eq!(sim.clients[anna].key_frame_requests, requests_before + 1);
    assert!(subscribers.iter().all(|at| is_key(packets(&sim, *at, "1")[0])));
}

#[test]
fn nacked_packet_is_retransmitted_from_packet_cache() {
    let (mut sim, anna, boris) = pair();
    sim.send_video(anna, "cam", 3);
    let mut count = 0;
    sim.is_dropped = Box::new(move |direction, at, datagram| {
        let is_media = datagram[0] >> 6 == 2 && datagram[1] & 0x7f == 96;
        count += u32::from(direction == Direction::Down && at == boris && is_media);
        direction == Direction::Down && at == boris && is_media && count == 2
    });
    sim.send_video(anna, "cam", 4);
    let received = packets(&sim, boris, "1");
    let indices: Vec<u64> = received.iter().map(|packet| packet.index).collect();
    let missing_index = (indices[0]..).find(|index| !indices.contains(index)).unwrap();
    let (ssrc, before) = (received[0].ssrc, received[0].payload[2..4].to_vec());
    sim.clients[boris].send_rtcp(|compound| compound.nack(5, ssrc, &[missing_index as u16]));
    sim.run(ms(10));

    let retransmitted = sim.clients[boris].received.last().unwrap();
    assert_eq!((retransmitted.payload_type, retransmitted.mid.as_str()), (97, "1"));
    assert_eq!(retransmitted.payload[..2], (missing_index as u16).to_be_bytes());
    let picture = |bytes: &[u8]| u16::from_be_bytes([bytes[0] & 0x7f, bytes[1]]);
    let nth = u16::try_from(missing_index - indices[0]).unwrap();
    assert_eq!(picture(&retransmitted.payload[4..6]), picture(&before) + nth);
    assert_eq!(sim.room.counters().rtx_out, 1);
}

#[test]
fn duplicate_nack_within_rtt_causes_one_retransmission() {
    let (mut sim, anna, boris) = pair();
    sim.send_video(anna, "cam", 3);
    let received = packets(&sim, boris, "1");
    let (ssrc, last) = (received[0].ssrc, received[2].index as u16);
    for _ in 0..3 {
        sim.clients[boris].send_rtcp(|compound| compound.nack(5, ssrc, &[last]));
    }
    sim.run(ms(5));

    let counters = sim.room.counters();
    assert_eq!((counters.nack_in, counters.rtx_out), (3, 1));
}

#[test]
fn lost_uplink_packet_is_nacked_once_and_forwarded() {
    let (mut sim, anna, boris) = pair();
    sim.send_video(anna, "cam", 3);
    let mut count = 0;
    sim.is_dropped = Box::new(move |direction, at, datagram| {
        let is_media = datagram[0] >> 6 == 2 && datagram[1] & 0x7f == 96;
        count += usize::from(direction == Direction::Up && at == anna && is_media);
        direction == Direction::Up && at == anna && is_media && count % 5 == 0
    });
    sim.send_video(anna, "cam", 24);

    let counters = sim.room.counters();
    assert_eq!((counters.nack_out, counters.rtx_in), (4, 4));
    let mut indices: Vec<u64> =
        packets(&sim, boris, "1").iter().map(|packet| packet.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, (indices[0]..indices[0] + 27).collect::<Vec<_>>());
}

#[test]
fn late_original_after_rtx_is_not_forwarded_again() {
    let (mut sim, anna, boris) = pair();
    sim.send_video(anna, "cam", 3);
    let held_back = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let held = held_back.clone();
    sim.is_dropped = Box::new(move |direction, at, datagram| {
        let is_media = datagram[0] >> 6 == 2 && datagram[1] & 0x7f == 96;
        let first =
            direction == Direction::Up && at == anna && is_media && held.lock().unwrap().is_empty();
        if first {
            *held.lock().unwrap() = datagram.to_vec();
        }
        first
    });
    sim.send_video(anna, "cam", 5);
    let mut held_back = held_back.lock().unwrap().clone();
    let path = sim.clients[anna].path;
    sim.room.receive(sim.now, path, &mut held_back);
    sim.send_video(anna, "cam", 2); // the client asserts that no packet index is used twice

    assert_eq!(sim.room.counters().rtx_in, 1);
    assert_eq!(packets(&sim, boris, "1").len(), 10);
}

#[test]
fn unmuted_track_resumes_with_key_frame() {
    let (mut sim, anna, boris) = pair();
    sim.send_video(anna, "cam", 5);
    sim.room.set_muted(sim.now, ParticipantId(1), MediaKind::Video, true);
    sim.room.set_muted(sim.now, ParticipantId(1), MediaKind::Audio, true);
    sim.send_video(anna, "cam", 5);
    sim.clients[anna].send_audio("mic", 20);
    sim.run(ms(20));
    assert_eq!((packets(&sim, boris, "0").len(), packets(&sim, boris, "1").len()), (0, 5));
    sim.room.set_muted(sim.now, ParticipantId(1), MediaKind::Video, false);
    sim.send_video(anna, "cam", 6);

    let received = packets(&sim, boris, "1");
    assert!(received.len() >= 10 && is_key(received[5]));
    assert_eq!(received[5].index, received[4].index + 1, "no sequence gap");
    assert!(received[5].timestamp.wrapping_sub(received[4].timestamp) > 4 * 3600);
}

#[test]
fn muting_camera_keeps_screen_share() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.join();
    let sections = [camera(), OfferSection::new("share", MediaKind::Video).sending()];
    let mut offer = sim.clients[anna].offer(&sections);
    offer.publish.insert("share".into(), TrackSource::Screen);
    let answer = sim.room.offer(sim.now, ParticipantId(1), &offer).unwrap();
    sim.clients[anna].on_answer(sim.now, &sections, &answer);
    sim.exchange();
    let (camera_track, shared) =
        (sim.track_of(anna, TrackSource::Camera), sim.track_of(anna, TrackSource::Screen));
    let boris = sim.connect(&[receive_video("0", camera_track), receive_video("1", shared)]);
    sim.room.set_muted(sim.now, ParticipantId(1), MediaKind::Video, true);
    sim.send_video(anna, "cam", 5);
    sim.send_video(anna, "share", 5);

    assert_eq!((packets(&sim, boris, "0").len(), packets(&sim, boris, "1").len()), (0, 5));
}

#[test]
fn silence_is_forwarded_six_times_then_sampled() {
    let (mut sim, anna, boris) = pair();
    for level in [30, 127, 127, 127, 127, 127, 127, 127, 127, 127, 30, 30] {
        sim.clients[anna].send_audio("mic", level);
        sim.run(ms(20));
    }

    let received = packets(&sim, boris, "0");
    assert_eq!(received.len(), 9);
    let indices: Vec<u64> =
        received.iter().map(|packet| packet.index - received[0].index).collect();
    assert_eq!(indices, (0..9).collect::<Vec<_>>());
    sim.clients[boris].received.clear();
    for _ in 0..200 {
        sim.clients[anna].send_audio("mic", 127);
        sim.run(ms(20));
    }
    assert!((14..=16).contains(&packets(&sim, boris, "0").len()), "six, and one every 400 ms");
}

#[test]
fn speakers_are_reported_and_only_loudest_n_forwarded() {
    let mut sim = Simulation::new(RoomConfig { last_n_audio: 1, ..RoomConfig::default() });
    let publishers: Vec<usize> = (0..3).map(|_| sim.connect(&[microphone()])).collect();
    let voices: Vec<OfferSection> = publishers
        .iter()
        .map(|at| {
            let track = sim.track_of(*at, TrackSource::Microphone);
            OfferSection::new(&at.to_string(), MediaKind::Audio).receiving(track)
        })
        .collect();
    let listener = sim.connect(&voices);
    for _ in 0..100 {
        for (at, level) in [(0, 70), (1, 10), (2, 80)] {
            sim.clients[at].send_audio("mic", level);
        }
        sim.run(ms(20));
    }

    assert!(sim.events.contains(&RoomEvent::Speakers(vec![ParticipantId(2)])));
    let since = sim.now - ms(500);
    let recent = sim.clients[listener].received.iter().filter(|packet| packet.received_at > since);
    assert!(recent.map(|packet| packet.mid.as_str()).all(|mid| mid == "1"));
    assert!(sim.clients[listener].received.iter().filter(|packet| packet.mid == "1").count() > 90);
}

#[test]
fn red_audio_is_unwrapped_for_subscriber_without_red() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[microphone().with_formats(&[63, 111])]);
    let audio = sim.track_of(anna, TrackSource::Microphone);
    let red_client = sim.connect(&[OfferSection::new("0", MediaKind::Audio).receiving(audio)]);
    let plain_section =
        OfferSection::new("0", MediaKind::Audio).receiving(audio).with_formats(&[111]);
    let plain = sim.connect(&[plain_section]);
    let payload = [0x80 | 111, 0x0f, 0, 3, 111, 7, 7, 7, 1, 2];
    sim.clients[anna].send(0, 63, &payload, Some(20));
    sim.run(ms(20));

    let first_packet = |at: usize| {
        let packet = &sim.clients[at].received[0];
        (packet.payload_type, packet.payload.clone())
    };
    assert_eq!(first_packet(red_client), (63, payload.to_vec()));
    assert_eq!(first_packet(plain), (111, vec![1, 2]));
}

#[test]
fn sender_reports_to_subscribers_use_publisher_clock() {
    let (mut sim, anna, boris) = pair();
    sim.send_video(anna, "cam", 10);
    let (ssrc, timestamp) = sim.clients[anna].ssrc_and_timestamp("cam");
    let report = rtcp::SenderInfo { ssrc, ntp: 77 << 32, timestamp };
    sim.clients[anna].send_rtcp(|compound| compound.sender_report(&report, 10, 100));
    sim.clients[boris].received_rtcp.clear();
    sim.run(ms(1_100));

    let received = sim.clients[boris]
        .received_rtcp
        .iter()
        .find(|packet| packet.1 == rtcp::SENDER_REPORT)
        .unwrap();
    let packet = rtcp::RtcpPacket { count: received.0, packet_type: received.1, body: &received.2 };
    let server_report = packet.sender_info().unwrap();
    let last = packets(&sim, boris, "1").last().unwrap().timestamp;
    let elapsed = (server_report.ntp - report.ntp) as f64 / 4_294_967_296.0;
    let ticks = f64::from(server_report.timestamp.wrapping_sub(last));
    assert!((ticks - elapsed * 90_000.0).abs() < 2.0, "{ticks} {elapsed}");

    let lsr = (server_report.ntp >> 16) as u32;
    let block = rtcp::ReportBlock {
        ssrc: server_report.ssrc,
        last_sr: lsr,
        ..rtcp::ReportBlock::default()
    };
    sim.run(ms(100));
    sim.clients[boris]
        .send_rtcp(|compound: &mut CompoundWriter| compound.receiver_report(9, &[block]));
    sim.run(ms(6_000));
    let round_trip = sim.events.iter().rev().find_map(|event| match event {
        RoomEvent::Quality(ParticipantId(2), quality) => Some(quality.round_trip),
        _ => None,
    });
    assert!(
        round_trip.is_some_and(|packet| packet > ms(50) && packet < ms(1_500)),
        "{round_trip:?}"
    );
}

#[test]
fn publisher_receives_twcc_and_receiver_reports() {
    let (mut sim, anna, _) = pair();
    sim.send_video(anna, "cam", 30);

    let rtcp = &sim.clients[anna].received_rtcp;
    assert!(
        rtcp.iter().any(|packet| (packet.0, packet.1) == (rtcp::TWCC, rtcp::TRANSPORT_FEEDBACK))
    );
    let block = rtcp.iter().filter(|packet| packet.1 == rtcp::RECEIVER_REPORT).find_map(|packet| {
        rtcp::RtcpPacket { count: packet.0, packet_type: packet.1, body: &packet.2 }
            .report_blocks()
            .next()
    });
    assert!(
        block.is_some_and(|block| block.cumulative_lost == 0 && block.highest_sequence > 65_530),
        "{block:?}"
    );
}

#[test]
fn media_quality_is_reported_per_participant() {
    let (mut sim, anna, boris) = pair();
    let mut count = 0;
    sim.is_dropped = Box::new(move |direction, at, datagram| {
        let is_media = datagram[0] >> 6 == 2 && datagram[1] & 0x7f == 96;
        count += usize::from(direction == Direction::Up && at == anna && is_media);
        direction == Direction::Up && at == anna && is_media && count % 4 == 0
    });
    sim.send_video(anna, "cam", 130);
    sim.run(ms(800)); // no packets: the video freezes
    sim.send_video(anna, "cam", 130);

    let quality_of = |participant_id: u32| {
        sim.events.iter().rev().find_map(|event| match event {
            RoomEvent::Quality(participant, quality) if participant.0 == participant_id => {
                Some(*quality)
            }
            _ => None,
        })
    };
    let (anna_quality, boris_quality) = (quality_of(1).unwrap(), quality_of(2).unwrap());
    assert!((0.15..0.35).contains(&anna_quality.up_loss), "{anna_quality:?}");
    assert!(
        anna_quality.up_bps > 5_000 && boris_quality.down_bps > 5_000,
        "{anna_quality:?} {boris_quality:?}"
    );
    let freezes: u32 = sim
        .events
        .iter()
        .map(|event| match event {
            RoomEvent::Quality(ParticipantId(2), quality) => quality.freezes,
            _ => 0,
        })
        .sum();
    assert_eq!((freezes, sim.room.counters().freezes), (1, 1));
    assert!(sim.clients[boris].received.len() > 200);
}
