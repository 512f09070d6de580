//! Downlinks with less capacity than there is media to send.

use super::*;

/// Bits per second that a client received during the last two seconds.
fn received_bps(sim: &Simulation, client: usize) -> u64 {
    let since = sim.now - ms(2_000);
    let recent = sim.clients[client].received.iter().filter(|packet| packet.received_at > since);
    recent.map(|packet| packet.payload.len() as u64 * 8).sum::<u64>() / 2
}

/// Sends three layers of 0.1, 0.5 and 1.6 Mbit/s.
fn send_video(sim: &mut Simulation, anna: usize, seconds: usize) {
    (0..seconds * 25).for_each(|_| send_frames(sim, anna));
}

fn send_frames(sim: &mut Simulation, anna: usize) {
    for (rid, packets) in [("l", 1), ("m", 2), ("h", 7)] {
        sim.clients[anna].send_large_frame("cam", rid, packets);
    }
    sim.run(ms(40));
}

fn last_layer(sim: &Simulation, client: usize) -> Option<char> {
    let recent = sim.now - ms(500);
    let packets = sim.clients[client].received.iter().rev();
    packets
        .take_while(|packet| packet.received_at > recent)
        .find(|packet| packet.payload_type == 96)
        .map(|packet| char::from(packet.payload[5]))
}

#[test]
fn simulcast_layer_follows_downlink_bandwidth() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera().simulcast()]);
    let track = sim.track_of(anna, TrackSource::Camera);
    let boris = sim.connect(&[receive_video("0", track)]);
    send_video(&mut sim, anna, 5);
    assert_eq!(last_layer(&sim, boris), Some('h'));
    sim.step_ms = 1;
    sim.links.insert(boris, Link::new(900_000));
    send_video(&mut sim, anna, 10);
    assert_eq!(last_layer(&sim, boris), Some('m'), "{}", received_bps(&sim, boris));
    sim.links.insert(boris, Link::new(20_000_000));
    send_video(&mut sim, anna, 20);

    assert_eq!(last_layer(&sim, boris), Some('h'), "{}", received_bps(&sim, boris));
}

#[test]
fn retransmissions_are_limited_on_congested_link() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera().simulcast()]);
    let track = sim.track_of(anna, TrackSource::Camera);
    let boris = sim.connect(&[receive_video("0", track)]);
    send_video(&mut sim, anna, 5);
    sim.step_ms = 1;
    sim.links.insert(boris, Link::new(300_000));
    send_video(&mut sim, anna, 5);
    let before = sim.room.counters().rtx_out;
    for _ in 0..50 {
        let newest =
            sim.clients[boris].received.iter().rev().find(|packet| packet.payload_type == 96);
        let (ssrc, newest) = newest.map(|packet| (packet.ssrc, packet.index as u16)).unwrap();
        let all: Vec<u16> = (1..60).map(|offset| newest.wrapping_sub(offset)).collect();
        sim.clients[boris].send_rtcp(|compound| compound.nack(5, ssrc, &all));
        send_frames(&mut sim, anna);
    }
    let retransmissions = sim.room.counters().rtx_out - before;

    // In two and a quarter seconds, half of the estimated capacity, in packets of 1,000 bytes.
    assert!((10..50).contains(&retransmissions), "{retransmissions}");
}

#[test]
fn remb_limits_client_without_twcc() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera().simulcast()]);
    let track = sim.track_of(anna, TrackSource::Camera);
    let boris = sim.connect(&[receive_video("0", track)]);
    sim.clients[boris].sends_twcc = false;
    send_video(&mut sim, anna, 3);
    for _ in 0..10 {
        sim.clients[boris].send_rtcp(|compound| compound.remb(1, 300_000, &[]));
        send_video(&mut sim, anna, 1);
    }

    assert_eq!(last_layer(&sim, boris), Some('l'));
}
