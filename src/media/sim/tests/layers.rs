//! Simulcast: which layer a subscriber gets, and which layers publishers are asked to send.

use super::*;
use crate::sim::client::ReceivedPacket;
use crate::{LayerLimit, SimulcastLayer};

fn simulcast() -> (Simulation, usize, TrackId) {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera().simulcast()]);
    let track = sim.track_of(anna, TrackSource::Camera);
    sim.send_video(anna, "cam", 5);
    (sim, anna, track)
}

/// The layer of a packet, as [`Client::send_frame`] marks it.
fn rid(packet: &ReceivedPacket) -> char {
    char::from(packet.payload[5])
}

fn video_packets(sim: &Simulation, at: usize) -> Vec<&ReceivedPacket> {
    sim.clients[at].received.iter().filter(|packet| packet.payload.len() > 5).collect()
}

#[test]
fn subscriber_gets_highest_layer_unless_limited() {
    let (mut sim, anna, track) = simulcast();
    let unlimited = sim.connect(&[receive_video("0", track)]);
    let limited = sim.join();
    sim.room.set_layer_limit(
        sim.now,
        ParticipantId(3),
        track,
        LayerLimit::UpTo(SimulcastLayer::Low),
    );
    sim.offer(limited, &[receive_video("0", track)]);
    let off = sim.connect(&[receive_video("0", track)]);
    sim.room.set_layer_limit(sim.now, ParticipantId(4), track, LayerLimit::Off);
    sim.send_video(anna, "cam", 20);

    let all =
        |at: usize, layer: char| video_packets(&sim, at).iter().all(|packet| rid(packet) == layer);
    assert!(all(unlimited, 'h') && all(limited, 'l') && video_packets(&sim, limited).len() > 15);
    assert_eq!(video_packets(&sim, off).len(), 0);
    assert_eq!(
        sim.room.tracks()[0].layers,
        [SimulcastLayer::Low, SimulcastLayer::Medium, SimulcastLayer::High]
    );
}

#[test]
fn layer_switch_on_key_frame_keeps_stream_continuous() {
    let (mut sim, anna, track) = simulcast();
    let boris = sim.connect(&[receive_video("0", track)]);
    sim.send_video(anna, "cam", 10);
    sim.room.set_layer_limit(
        sim.now,
        ParticipantId(2),
        track,
        LayerLimit::UpTo(SimulcastLayer::Low),
    );
    sim.send_video(anna, "cam", 10);
    sim.room.set_layer_limit(
        sim.now,
        ParticipantId(2),
        track,
        LayerLimit::UpTo(SimulcastLayer::Medium),
    );
    sim.send_video(anna, "cam", 10);

    let packets = video_packets(&sim, boris);
    let mut layers: Vec<char> = packets.iter().map(|packet| rid(packet)).collect();
    layers.dedup();
    assert_eq!(layers, ['h', 'l', 'm']);
    for pair in packets.windows(2) {
        assert_eq!(pair[1].index, pair[0].index + 1);
        assert!((pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32) > 0);
        let picture_id = |packet: &ReceivedPacket| {
            u16::from_be_bytes([packet.payload[2] & 0x7f, packet.payload[3]])
        };
        assert_eq!(picture_id(pair[1]), picture_id(pair[0]) + 1, "PictureID");
        assert!(rid(pair[0]) == rid(pair[1]) || pair[1].payload[4] == 0, "a key frame");
        assert_eq!(pair[0].ssrc, pair[1].ssrc);
    }
    assert_eq!(sim.room.counters().layer_switches, 2);
}

#[test]
fn retransmission_after_switch_returns_original_packet() {
    let (mut sim, anna, track) = simulcast();
    let boris = sim.connect(&[receive_video("0", track)]);
    sim.send_video(anna, "cam", 10);
    let (ssrc, original) = {
        let last = video_packets(&sim, boris).last().copied().unwrap().clone();
        (last.ssrc, last)
    };
    sim.room.set_layer_limit(
        sim.now,
        ParticipantId(2),
        track,
        LayerLimit::UpTo(SimulcastLayer::Low),
    );
    sim.send_video(anna, "cam", 10);
    sim.clients[boris].send_rtcp(|compound| compound.nack(5, ssrc, &[original.index as u16]));
    sim.run(ms(10));

    let retransmitted =
        sim.clients[boris].received.iter().rev().find(|packet| packet.payload_type == 97);
    assert_eq!(retransmitted.unwrap().payload[2..], original.payload);
    assert_eq!(retransmitted.unwrap().timestamp, original.timestamp);
}

#[test]
fn lost_uplink_simulcast_packet_is_recovered_by_rtx() {
    let (mut sim, anna, track) = simulcast();
    let boris = sim.connect(&[receive_video("0", track)]);
    sim.send_video(anna, "cam", 3);
    let mut count = 0;
    sim.is_dropped = Box::new(move |direction, at, datagram| {
        let is_media = datagram[0] >> 6 == 2 && datagram[1] & 0x7f == 96;
        count += usize::from(direction == Direction::Up && at == anna && is_media);
        direction == Direction::Up && at == anna && is_media && count % 7 == 0
    });
    sim.send_video(anna, "cam", 20);
    sim.is_dropped = Box::new(|_, _, _| false);
    sim.send_video(anna, "cam", 5);

    let counters = sim.room.counters();
    assert!(counters.rtx_in >= 8, "{counters:?}");
    assert_eq!(counters.nack_out, counters.rtx_in);
    let mut indices: Vec<u64> =
        video_packets(&sim, boris).iter().map(|packet| packet.index).collect();
    indices.sort_unstable();
    assert!(indices.windows(2).all(|pair| pair[1] == pair[0] + 1), "{indices:?}");
}

#[test]
fn stopped_simulcast_layer_falls_back_to_lower() {
    let (mut sim, anna, track) = simulcast();
    let boris = sim.connect(&[receive_video("0", track)]);
    sim.send_video(anna, "cam", 10);
    for _ in 0..100 {
        sim.clients[anna].send_frame_on("cam", Some("l"));
        sim.clients[anna].send_frame_on("cam", Some("m"));
        sim.run(ms(40));
    }

    let recent = sim.now - ms(1_000);
    let packets: Vec<_> = video_packets(&sim, boris)
        .into_iter()
        .filter(|packet| packet.received_at > recent)
        .collect();
    assert!(
        packets.len() > 20 && packets.iter().all(|packet| rid(packet) == 'm'),
        "{}",
        packets.len()
    );
    let times: Vec<_> =
        video_packets(&sim, boris).iter().map(|packet| packet.received_at).collect();
    let max_gap = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(max_gap < Some(ms(400)), "frozen for {max_gap:?}");
}

#[test]
fn resumed_simulcast_layer_is_selected_once_stable() {
    let (mut sim, anna, track) = simulcast();
    let boris = sim.connect(&[receive_video("0", track)]);
    sim.send_video(anna, "cam", 10);
    let switches = |sim: &Simulation| sim.room.counters().layer_switches;
    for n in 0..50 {
        sim.clients[anna].send_frame_on("cam", Some("l"));
        if n % 10 == 0 {
            sim.clients[anna].send_frame_on("cam", Some("h"));
        }
        sim.run(ms(40));
    }
    assert_eq!(switches(&sim), 1, "it does not oscillate");
    sim.send_video(anna, "cam", 50);

    assert_eq!(rid(video_packets(&sim, boris).last().unwrap()), 'h');
    assert_eq!(switches(&sim), 2);
}

#[test]
fn cameras_outside_last_n_are_not_requested() {
    let mut sim = Simulation::new(RoomConfig { last_n_video: 1, ..RoomConfig::default() });
    let anna = sim.connect(&[camera(), microphone()]);
    let boris = sim.connect(&[camera(), microphone()]);
    let tracks = [anna, boris].map(|at| sim.track_of(at, TrackSource::Camera));
    sim.connect(&[receive_video("0", tracks[0]), receive_video("1", tracks[1])]);
    let requested = |sim: &Simulation, track| {
        sim.events.iter().rev().find_map(|event| match event {
            RoomEvent::LayersRequested(_, of, layers) if *of == track => Some(layers.len()),
            _ => None,
        })
    };
    let is_requested = |sim: &Simulation| tracks.map(|track| requested(sim, track) != Some(0));
    let speak = |sim: &mut Simulation, client: usize| {
        for _ in 0..200 {
            sim.clients[client].send_audio("mic", 10);
            sim.run(ms(20));
        }
    };
    speak(&mut sim, anna);
    assert_eq!(is_requested(&sim), [true, false]);
    speak(&mut sim, boris);
    assert_eq!(is_requested(&sim), [false, true]);
}

#[test]
fn publisher_is_notified_of_watched_layers() {
    let (mut sim, anna, track) = simulcast();
    let requested = |sim: &Simulation| {
        sim.events.iter().rev().find_map(|event| match event {
            RoomEvent::LayersRequested(ParticipantId(1), _, layers) => Some(layers.clone()),
            _ => None,
        })
    };
    sim.send_video(anna, "cam", 100);
    assert_eq!(requested(&sim), Some(vec![]), "nobody watches");
    let boris = sim.join();
    sim.offer(boris, &[receive_video("0", track)]);
    let both = Some(vec![SimulcastLayer::Low, SimulcastLayer::High]);
    assert_eq!(requested(&sim), both, "immediately, with the lowest layer as fallback");
    sim.send_video(anna, "cam", 10);
    sim.room.set_layer_limit(
        sim.now,
        ParticipantId(2),
        track,
        LayerLimit::UpTo(SimulcastLayer::Low),
    );
    sim.collect();
    assert_eq!(requested(&sim), both, "until the layer switch is complete");
    sim.send_video(anna, "cam", 100);
    assert_eq!(requested(&sim), Some(vec![SimulcastLayer::Low]));
    sim.room.leave(sim.now, ParticipantId(2));
    sim.send_video(anna, "cam", 100);

    assert_eq!(requested(&sim), Some(vec![]));
}

#[test]
fn requests_for_absent_layer_back_off() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera().simulcast()]);
    let track = sim.track_of(anna, TrackSource::Camera);
    let boris = sim.connect(&[receive_video("0", track)]);
    let mut request_counts = Vec::new();
    for _ in 0..2 {
        let events_before = sim.events.len();
        for _ in 0..1_500 {
            sim.clients[anna].send_frame_on("cam", Some("l"));
            sim.run(ms(40));
        }
        let new_events = sim.events[events_before..].iter();
        request_counts.push(
            new_events.filter(|event| matches!(event, RoomEvent::LayersRequested(..))).count(),
        );
    }

    assert!(video_packets(&sim, boris).len() > 2_980);
    assert!(
        request_counts[0] <= 16 && request_counts[1] <= 8,
        "requests in the first and second minute: {request_counts:?}"
    );
}

#[test]
fn silent_publisher_gets_no_further_requests() {
    let (mut sim, anna, track) = simulcast();
    sim.connect(&[receive_video("0", track)]);
    sim.send_video(anna, "cam", 10);
    sim.run(ms(3_000));
    let (events_before, requests_before) = (sim.events.len(), sim.room.counters().pli_out);
    sim.run(ms(20_000));

    let quality = sim.events.iter().filter(|event| matches!(event, RoomEvent::Quality(..))).count();
    assert!(sim.events.len() - events_before <= quality, "{:?}", &sim.events[events_before..]);
    assert_eq!(sim.room.counters().pli_out, requests_before);
}

#[test]
fn subscribing_to_static_video_requests_key_frame() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera()]);
    let track = sim.track_of(anna, TrackSource::Camera);
    sim.send_video(anna, "cam", 5);
    sim.run(ms(5_000));
    let requests_before = sim.clients[anna].key_frame_requests;
    let boris = sim.connect(&[receive_video("0", track)]);
    assert_eq!(sim.clients[anna].key_frame_requests, requests_before + 1);
    sim.send_video(anna, "cam", 1);

    assert_eq!(video_packets(&sim, boris).len(), 1);
}

#[test]
fn sender_reports_align_timestamps_across_layers() {
    let (mut sim, anna, track) = simulcast();
    let boris = sim.connect(&[receive_video("0", track)]);
    sim.send_video(anna, "cam", 5);
    for (ssrc, timestamp) in sim.clients[anna].ssrcs_and_timestamps("cam") {
        let report = crate::rtcp::SenderInfo { ssrc, ntp: 9 << 32, timestamp };
        sim.clients[anna].send_rtcp(|compound| compound.sender_report(&report, 1, 1));
    }
    sim.run(ms(17)); // delayed by some milliseconds, which must not affect timestamps
    sim.room.set_layer_limit(
        sim.now,
        ParticipantId(2),
        track,
        LayerLimit::UpTo(SimulcastLayer::Low),
    );
    sim.send_video(anna, "cam", 5);

    let packets = video_packets(&sim, boris);
    assert!(packets.iter().any(|packet| rid(packet) == 'l'));
    let ticks = packets.windows(2).map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp));
    assert!(ticks.clone().all(|ticks| ticks == 3600), "{:?}", ticks.collect::<Vec<_>>());
}
