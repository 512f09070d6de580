//! Simulcast: who gets which layer, and what publishers are told to send.

use super::*;
use crate::sim::client::Received;
use crate::{LayerLimit, SimulcastLayer};

fn simulcast() -> (Trial, usize, TrackId) {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera().simulcast()]);
    let track = trial.track(anna, TrackSource::Camera);
    trial.film(anna, "cam", 5);
    (trial, anna, track)
}

/// Which layer a packet is of, as [`Client::send_picture`] marks it.
fn rid(packet: &Received) -> char {
    char::from(packet.payload[5])
}

fn pictures(trial: &Trial, at: usize) -> Vec<&Received> {
    trial.clients[at].received.iter().filter(|it| it.payload.len() > 5).collect()
}

#[test]
fn subscriber_gets_highest_layer_unless_limited() {
    let (mut trial, anna, track) = simulcast();
    let large = trial.connect(&[screen("0", track)]);
    let small = trial.join();
    trial.room.limit(trial.now, ParticipantId(3), track, LayerLimit::Most(SimulcastLayer::Low));
    trial.offer(small, &[screen("0", track)]);
    let none = trial.connect(&[screen("0", track)]);
    trial.room.limit(trial.now, ParticipantId(4), track, LayerLimit::Off);
    trial.film(anna, "cam", 20);

    let all = |at: usize, layer: char| pictures(&trial, at).iter().all(|it| rid(it) == layer);
    assert!(all(large, 'h') && all(small, 'l') && pictures(&trial, small).len() > 15);
    assert_eq!(pictures(&trial, none).len(), 0);
    assert_eq!(
        trial.room.tracks()[0].layers,
        [SimulcastLayer::Low, SimulcastLayer::Medium, SimulcastLayer::High]
    );
}

#[test]
fn layer_switch_on_key_frame_keeps_stream_continuous() {
    let (mut trial, anna, track) = simulcast();
    let boris = trial.connect(&[screen("0", track)]);
    trial.film(anna, "cam", 10);
    trial.room.limit(trial.now, ParticipantId(2), track, LayerLimit::Most(SimulcastLayer::Low));
    trial.film(anna, "cam", 10);
    trial.room.limit(trial.now, ParticipantId(2), track, LayerLimit::Most(SimulcastLayer::Medium));
    trial.film(anna, "cam", 10);

    let seen = pictures(&trial, boris);
    let mut layers: Vec<char> = seen.iter().map(|it| rid(it)).collect();
    layers.dedup();
    assert_eq!(layers, ['h', 'l', 'm']);
    for pair in seen.windows(2) {
        assert_eq!(pair[1].index, pair[0].index + 1);
        assert!((pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32) > 0);
        let number = |it: &Received| u16::from_be_bytes([it.payload[2] & 0x7f, it.payload[3]]);
        assert_eq!(number(pair[1]), number(pair[0]) + 1, "PictureID");
        assert!(rid(pair[0]) == rid(pair[1]) || pair[1].payload[4] == 0, "a key frame");
        assert_eq!(pair[0].ssrc, pair[1].ssrc);
    }
    assert_eq!(trial.room.counters().layer_switches, 2);
}

#[test]
fn retransmission_after_switch_returns_original_packet() {
    let (mut trial, anna, track) = simulcast();
    let boris = trial.connect(&[screen("0", track)]);
    trial.film(anna, "cam", 10);
    let (ssrc, before) = {
        let last = pictures(&trial, boris).last().copied().unwrap().clone();
        (last.ssrc, last)
    };
    trial.room.limit(trial.now, ParticipantId(2), track, LayerLimit::Most(SimulcastLayer::Low));
    trial.film(anna, "cam", 10);
    trial.clients[boris].tell(|compound| compound.nack(5, ssrc, &[before.index as u16]));
    trial.run(ms(10));

    let again = trial.clients[boris].received.iter().rev().find(|it| it.payload_type == 97);
    assert_eq!(again.unwrap().payload[2..], before.payload);
    assert_eq!(again.unwrap().timestamp, before.timestamp);
}

#[test]
fn lost_uplink_simulcast_packet_is_recovered_by_rtx() {
    let (mut trial, anna, track) = simulcast();
    let boris = trial.connect(&[screen("0", track)]);
    trial.film(anna, "cam", 3);
    let mut count = 0;
    trial.loses = Box::new(move |way, at, datagram| {
        let media = datagram[0] >> 6 == 2 && datagram[1] & 0x7f == 96;
        count += usize::from(way == Way::Up && at == anna && media);
        way == Way::Up && at == anna && media && count % 7 == 0
    });
    trial.film(anna, "cam", 20);
    trial.loses = Box::new(|_, _, _| false);
    trial.film(anna, "cam", 5);

    let counters = trial.room.counters();
    assert!(counters.rtx_in >= 8, "{counters:?}");
    assert_eq!(counters.nack_out, counters.rtx_in);
    let mut indices: Vec<u64> = pictures(&trial, boris).iter().map(|it| it.index).collect();
    indices.sort_unstable();
    assert!(indices.windows(2).all(|pair| pair[1] == pair[0] + 1), "{indices:?}");
}

#[test]
fn stopped_simulcast_layer_falls_back_to_lower() {
    let (mut trial, anna, track) = simulcast();
    let boris = trial.connect(&[screen("0", track)]);
    trial.film(anna, "cam", 10);
    for _ in 0..100 {
        trial.clients[anna].send_picture_of("cam", Some("l"));
        trial.clients[anna].send_picture_of("cam", Some("m"));
        trial.run(ms(40));
    }

    let recent = trial.now - ms(1_000);
    let seen: Vec<_> = pictures(&trial, boris).into_iter().filter(|it| it.at > recent).collect();
    assert!(seen.len() > 20 && seen.iter().all(|it| rid(it) == 'm'), "{}", seen.len());
    let times: Vec<_> = pictures(&trial, boris).iter().map(|it| it.at).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest < Some(ms(400)), "the picture stood still for {longest:?}");
}

#[test]
fn resumed_simulcast_layer_is_selected_once_stable() {
    let (mut trial, anna, track) = simulcast();
    let boris = trial.connect(&[screen("0", track)]);
    trial.film(anna, "cam", 10);
    let switches = |trial: &Trial| trial.room.counters().layer_switches;
    for n in 0..50 {
        trial.clients[anna].send_picture_of("cam", Some("l"));
        if n % 10 == 0 {
            trial.clients[anna].send_picture_of("cam", Some("h"));
        }
        trial.run(ms(40));
    }
    assert_eq!(switches(&trial), 1, "it does not swing");
    trial.film(anna, "cam", 50);

    assert_eq!(rid(pictures(&trial, boris).last().unwrap()), 'h');
    assert_eq!(switches(&trial), 2);
}

#[test]
fn cameras_outside_last_n_are_not_requested() {
    let mut trial = Trial::new(RoomConfig { last_n_video: 1, ..RoomConfig::default() });
    let anna = trial.connect(&[camera(), microphone()]);
    let boris = trial.connect(&[camera(), microphone()]);
    let tracks = [anna, boris].map(|at| trial.track(at, TrackSource::Camera));
    trial.connect(&[screen("0", tracks[0]), screen("1", tracks[1])]);
    let told = |trial: &Trial, track| {
        trial.events.iter().rev().find_map(|event| match event {
            RoomEvent::Wanted(_, of, layers) if *of == track => Some(layers.len()),
            _ => None,
        })
    };
    let sent = |trial: &Trial| tracks.map(|track| told(trial, track) != Some(0));
    let talk = |trial: &mut Trial, who: usize| {
        for _ in 0..200 {
            trial.clients[who].send_sound("mic", 10);
            trial.run(ms(20));
        }
    };
    talk(&mut trial, anna);
    assert_eq!(sent(&trial), [true, false]);
    talk(&mut trial, boris);
    assert_eq!(sent(&trial), [false, true]);
}

#[test]
fn publisher_is_notified_of_watched_layers() {
    let (mut trial, anna, track) = simulcast();
    let told = |trial: &Trial| {
        trial.events.iter().rev().find_map(|event| match event {
            RoomEvent::Wanted(ParticipantId(1), _, layers) => Some(layers.clone()),
            _ => None,
        })
    };
    trial.film(anna, "cam", 100);
    assert_eq!(told(&trial), Some(vec![]), "nobody is there");
    let boris = trial.join();
    trial.offer(boris, &[screen("0", track)]);
    let both = Some(vec![SimulcastLayer::Low, SimulcastLayer::High]);
    assert_eq!(told(&trial), both, "at once, and what everybody can fall back to");
    trial.film(anna, "cam", 10);
    trial.room.limit(trial.now, ParticipantId(2), track, LayerLimit::Most(SimulcastLayer::Low));
    trial.collect();
    assert_eq!(told(&trial), both, "until the switch is done");
    trial.film(anna, "cam", 100);
    assert_eq!(told(&trial), Some(vec![SimulcastLayer::Low]));
    trial.room.leave(trial.now, ParticipantId(2));
    trial.film(anna, "cam", 100);

    assert_eq!(told(&trial), Some(vec![]));
}

#[test]
fn requests_for_absent_layer_back_off() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera().simulcast()]);
    let track = trial.track(anna, TrackSource::Camera);
    let boris = trial.connect(&[screen("0", track)]);
    let mut told = Vec::new();
    for _ in 0..2 {
        let before = trial.events.len();
        for _ in 0..1_500 {
            trial.clients[anna].send_picture_of("cam", Some("l"));
            trial.run(ms(40));
        }
        let wanted = trial.events[before..].iter();
        told.push(wanted.filter(|event| matches!(event, RoomEvent::Wanted(..))).count());
    }

    assert!(pictures(&trial, boris).len() > 2_980);
    assert!(told[0] <= 16 && told[1] <= 8, "in the first minute, and the second: {told:?}");
}

#[test]
fn silent_publisher_gets_no_further_requests() {
    let (mut trial, anna, track) = simulcast();
    trial.connect(&[screen("0", track)]);
    trial.film(anna, "cam", 10);
    trial.run(ms(3_000));
    let (told, asked) = (trial.events.len(), trial.room.counters().pli_out);
    trial.run(ms(20_000));

    let quality =
        trial.events.iter().filter(|event| matches!(event, RoomEvent::Quality(..))).count();
    assert!(trial.events.len() - told <= quality, "{:?}", &trial.events[told..]);
    assert_eq!(trial.room.counters().pli_out, asked);
}

#[test]
fn subscribing_to_static_video_requests_key_frame() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera()]);
    let track = trial.track(anna, TrackSource::Camera);
    trial.film(anna, "cam", 5);
    trial.run(ms(5_000));
    let asked = trial.clients[anna].keys_asked;
    let boris = trial.connect(&[screen("0", track)]);
    assert_eq!(trial.clients[anna].keys_asked, asked + 1);
    trial.film(anna, "cam", 1);

    assert_eq!(pictures(&trial, boris).len(), 1);
}

#[test]
fn sender_reports_align_timestamps_across_layers() {
    let (mut trial, anna, track) = simulcast();
    let boris = trial.connect(&[screen("0", track)]);
    trial.film(anna, "cam", 5);
    for (ssrc, timestamp) in trial.clients[anna].clocks("cam") {
        let report = crate::rtcp::SenderInfo { ssrc, ntp: 9 << 32, timestamp };
        trial.clients[anna].tell(|compound| compound.sender(&report, 1, 1));
    }
    trial.run(ms(17)); // late by some milliseconds, which must not be seen
    trial.room.limit(trial.now, ParticipantId(2), track, LayerLimit::Most(SimulcastLayer::Low));
    trial.film(anna, "cam", 5);

    let seen = pictures(&trial, boris);
    assert!(seen.iter().any(|it| rid(it) == 'l'));
    let apart = seen.windows(2).map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp));
    assert!(apart.clone().all(|ticks| ticks == 3600), "{:?}", apart.collect::<Vec<_>>());
}
