//! Paths, handshakes, disconnects: how clients connect, migrate and leave.

use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Wire;

use super::*;
use crate::DisconnectReason;
use crate::srtp::SrtpProfile;

/// Anna sends video, Boris receives it.
fn pair() -> (Simulation, usize, usize, TrackId) {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera()]);
    let track = sim.track_of(anna, TrackSource::Camera);
    let boris = sim.connect(&[receive_video("0", track)]);
    sim.send_video(anna, "cam", 5);
    (sim, anna, boris, track)
}

#[test]
fn ice_restart_uses_old_path_until_new_path_is_checked() {
    let (mut sim, anna, boris, track) = pair();
    let old = sim.clients[boris].path;
    sim.clients[boris].sends_checks = false;
    sim.clients[boris].local_ice = ("efgh".into(), "another-password-of-24-ch".into());
    let previous_ice = sim.clients[boris].remote_ice.clone();
    sim.offer(boris, &[receive_video("0", track)]);
    assert_ne!(sim.clients[boris].remote_ice, previous_ice);
    sim.send_video(anna, "cam", 5);
    let new = path(7);
    sim.clients[boris].paths.push(new);
    sim.clients[boris].path = new;
    sim.clients[boris].sends_checks = true;
    sim.send_video(anna, "cam", 5);

    let paths: Vec<NetworkPath> = sim.clients[boris].received.iter().map(|it| it.path).collect();
    assert_eq!(paths, [[old; 10].as_slice(), &[new; 5]].concat());
    assert_eq!(sim.room.counters().handshakes, 2, "the DTLS association is retained");
    assert!(sim.routes.contains(&RouteUpdate::Added(new)));
}

#[test]
fn migrated_client_keeps_media_and_old_path_expires() {
    let (mut sim, anna, boris, _) = pair();
    let (old, new) = (sim.clients[boris].path, path(9));
    sim.clients[boris].paths = vec![new];
    sim.clients[boris].path = new;
    sim.run(ms(2_000)); // until its next check
    sim.send_video(anna, "cam", 3);
    assert_eq!(sim.clients[boris].received.last().unwrap().path, new);
    sim.run(ms(31_000));

    assert!(sim.routes.contains(&RouteUpdate::Removed(old)));
    assert!(!sim.routes.contains(&RouteUpdate::Removed(new)));
}

#[test]
fn new_peer_connection_gets_new_dtls_and_keeps_tracks() {
    let (mut sim, anna, boris, track) = pair();
    sim.clients[anna].session_id += 1; // another peer connection
    let now = sim.now;
    sim.clients[anna].start_handshake(now);
    sim.clients[anna].check_responses = 0;
    sim.offer(anna, &[camera()]);
    sim.run(ms(50));
    sim.send_video(anna, "cam", 10);

    assert_eq!(sim.track_of(anna, TrackSource::Camera), track);
    assert_eq!(sim.room.counters().handshakes, 3);
    let received = &sim.clients[boris].received;
    assert!(received.len() >= 13, "{}", received.len());
    assert!(received.windows(2).all(|pair| pair[1].index == pair[0].index + 1));
    sim.clients[boris].session_id += 1;
    sim.clients[boris].start_handshake(now);
    sim.clients[boris].check_responses = 0;
    sim.offer(boris, &[receive_video("0", track)]);
    sim.send_video(anna, "cam", 10);
    assert!(sim.clients[boris].received.last().unwrap().received_at > sim.now - ms(50));
}

#[test]
fn client_without_ice_checks_times_out_and_can_reconnect() {
    let (mut sim, anna, boris, _) = pair();
    sim.clients[boris].sends_checks = false;
    sim.run(ms(31_000));
    let disconnected = RoomEvent::Disconnected(ParticipantId(2), DisconnectReason::ConsentExpired);
    assert_eq!(sim.events.iter().filter(|event| **event == disconnected).count(), 1);
    assert!(
        !sim.events
            .contains(&RoomEvent::Disconnected(ParticipantId(1), DisconnectReason::ConsentExpired))
    );
    sim.clients[boris].received.clear();
    sim.send_video(anna, "cam", 3);
    assert_eq!(sim.clients[boris].received.len(), 0, "no media is sent without consent");
    sim.events.clear();
    sim.clients[boris].sends_checks = true;
    sim.send_video(anna, "cam", 10);

    assert!(sim.events.contains(&RoomEvent::Connected(ParticipantId(2))));
    assert!(sim.clients[boris].received.len() > 5);
}

#[test]
fn dtls_close_notify_disconnects_and_reoffer_reconnects() {
    let (mut sim, anna, boris, track) = pair();
    sim.clients[boris].close(sim.now);
    sim.run(ms(10));
    assert!(
        sim.events.contains(&RoomEvent::Disconnected(ParticipantId(2), DisconnectReason::Closed))
    );
    let now = sim.now;
    sim.clients[boris].start_handshake(now);
    sim.clients[boris].check_responses = 0;
    sim.clients[boris].received.clear();
    sim.offer(boris, &[receive_video("0", track)]);
    sim.send_video(anna, "cam", 10);

    assert!(sim.clients[boris].received.len() > 5);
    assert_eq!(sim.room.participants().len(), 2);
}

#[test]
fn dtls_fingerprint_mismatch_is_rejected() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.join();
    let mut offer = sim.clients[anna].offer(&[camera()]);
    let wrong = "00".repeat(32).as_bytes().chunks(2).map(|_| "00").collect::<Vec<_>>().join(":");
    offer.sdp = offer.sdp.replace(&Client::fingerprint(), &wrong);
    let answer = sim.room.offer(sim.now, ParticipantId(1), &offer).unwrap();
    sim.clients[anna].on_answer(sim.now, &[camera()], &answer);
    sim.run(ms(200));

    assert!(
        sim.events.contains(&RoomEvent::Disconnected(
            ParticipantId(1),
            DisconnectReason::HandshakeFailed
        ))
    );
    assert_eq!(sim.room.counters().handshakes_failed, 1);
}

#[test]
fn lost_dtls_handshake_datagram_is_retransmitted() {
    for (direction_lost, nth) in [Direction::Up, Direction::Down]
        .iter()
        .flat_map(|direction_lost| (0..4).map(|nth| (*direction_lost, nth)))
    {
        let mut sim = Simulation::new(RoomConfig::default());
        let anna = sim.join();
        let mut count = 0;
        sim.is_dropped = Box::new(move |direction, _, datagram| {
            let is_handshake = direction == direction_lost && (20..64).contains(&datagram[0]);
            count += u32::from(is_handshake);
            is_handshake && count == nth + 1
        });
        sim.offer(anna, &[camera()]);
        sim.run(ms(1_500));
        assert!(sim.clients[anna].is_connected(), "{direction_lost:?} {nth}");
    }
}

#[test]
fn client_with_only_aes_cm_profile_is_accepted() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.join();
    sim.clients[anna].profiles = vec![Wire::Srtp_Aes128_Cm_Hmac_Sha1_80];
    let now = sim.now;
    sim.clients[anna].start_handshake(now);
    sim.offer(anna, &[camera()]);
    sim.run(ms(100));
    assert_eq!(sim.clients[anna].profile(), SrtpProfile::Aes128CmSha1_80);
    let track = sim.track_of(anna, TrackSource::Camera);
    let boris = sim.connect(&[receive_video("0", track)]);
    sim.send_video(anna, "cam", 5);

    assert_eq!(sim.clients[boris].received.len(), 5);
}

#[test]
fn unfinished_dtls_handshake_times_out() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.join();
    let mut first = true;
    sim.is_dropped = Box::new(move |way, _, datagram| {
        let is_handshake = way == Direction::Up && (20..64).contains(&datagram[0]);
        is_handshake && !std::mem::take(&mut first)
    });
    sim.offer(anna, &[camera()]);
    sim.run(ms(16_000));

    assert!(
        sim.events.contains(&RoomEvent::Disconnected(
            ParticipantId(1),
            DisconnectReason::HandshakeFailed
        ))
    );
}

#[test]
fn ice_tcp_path_connects() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.join();
    let tcp = NetworkPath { transport: TransportProtocol::Tcp, remote: path(5).remote };
    sim.clients[anna].paths = vec![tcp];
    sim.clients[anna].path = tcp;
    let answer = sim.offer(anna, &[camera()]);
    sim.run(ms(50));

    assert!(sim.clients[anna].is_connected());
    assert!(answer.contains(" tcp ") && answer.contains("typ host tcptype passive"));
}

#[test]
fn claimed_path_returns_to_owner_after_next_ice_check() {
    let (mut sim, anna, boris, _) = pair();
    let path = sim.clients[anna].path;
    let (ufrag, password) = sim.clients[boris].remote_ice.clone();
    sim.room.receive(sim.now, path, &mut check(&ufrag, &password, false));
    sim.send_video(anna, "cam", 3);
    let received_before = sim.clients[boris].received.len();
    sim.run(ms(2_000));
    sim.send_video(anna, "cam", 5);

    assert!(sim.clients[boris].received.len() >= received_before + 5);
}
