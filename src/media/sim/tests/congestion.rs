//! Links that carry less than is there to be sent.

use super::*;

/// Bits per second that reached a client during the last two seconds.
fn rate(trial: &Trial, at: usize) -> u64 {
    let since = trial.now - ms(2_000);
    let recent = trial.clients[at].received.iter().filter(|it| it.at > since);
    recent.map(|it| it.payload.len() as u64 * 8).sum::<u64>() / 2
}

/// Films on three layers of 0.1, 0.5 and 1.6 Mbit/s.
fn film(trial: &mut Trial, anna: usize, seconds: usize) {
    (0..seconds * 25).for_each(|_| film_once(trial, anna));
}

fn film_once(trial: &mut Trial, anna: usize) {
    for (rid, packets) in [("l", 1), ("m", 2), ("h", 7)] {
        trial.clients[anna].send_large_picture("cam", rid, packets);
    }
    trial.run(ms(40));
}

fn last_layer(trial: &Trial, at: usize) -> Option<char> {
    let recent = trial.now - ms(500);
    let seen = trial.clients[at].received.iter().rev();
    seen.take_while(|it| it.at > recent)
        .find(|it| it.payload_type == 96)
        .map(|it| char::from(it.payload[5]))
}

#[test]
fn simulcast_layer_follows_downlink_bandwidth() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera().simulcast()]);
    let track = trial.track(anna, TrackSource::Camera);
    let boris = trial.connect(&[screen("0", track)]);
    film(&mut trial, anna, 5);
    assert_eq!(last_layer(&trial, boris), Some('h'));
    trial.step = 1;
    trial.links.insert(boris, Link::new(900_000));
    film(&mut trial, anna, 10);
    assert_eq!(last_layer(&trial, boris), Some('m'), "{}", rate(&trial, boris));
    trial.links.insert(boris, Link::new(20_000_000));
    film(&mut trial, anna, 20);

    assert_eq!(last_layer(&trial, boris), Some('h'), "{}", rate(&trial, boris));
}

#[test]
fn retransmissions_are_limited_on_congested_link() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera().simulcast()]);
    let track = trial.track(anna, TrackSource::Camera);
    let boris = trial.connect(&[screen("0", track)]);
    film(&mut trial, anna, 5);
    trial.step = 1;
    trial.links.insert(boris, Link::new(300_000));
    film(&mut trial, anna, 5);
    let before = trial.room.counters().rtx_out;
    for _ in 0..50 {
        let newest = trial.clients[boris].received.iter().rev().find(|it| it.payload_type == 96);
        let (ssrc, newest) = newest.map(|it| (it.ssrc, it.index as u16)).unwrap();
        let all: Vec<u16> = (1..60).map(|back| newest.wrapping_sub(back)).collect();
        trial.clients[boris].tell(|compound| compound.nack(5, ssrc, &all));
        film_once(&mut trial, anna);
    }
    let again = trial.room.counters().rtx_out - before;

    // In two and a quarter seconds half of what the link is thought to carry, in packets of 1,000 bytes.
    assert!((10..50).contains(&again), "{again}");
}

#[test]
fn remb_limits_client_without_twcc() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera().simulcast()]);
    let track = trial.track(anna, TrackSource::Camera);
    let boris = trial.connect(&[screen("0", track)]);
    trial.clients[boris].feeds = false;
    film(&mut trial, anna, 3);
    for _ in 0..10 {
        trial.clients[boris].tell(|compound| compound.maximum_bitrate(1, 300_000, &[]));
        film(&mut trial, anna, 1);
    }

    assert_eq!(last_layer(&trial, boris), Some('l'));
}
