//! Paths, handshakes, goodbyes: how clients come, move and go.

use super::*;
use crate::DisconnectReason;
use crate::srtp::SrtpProfile;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as Wire;

/// Anna films; Boris watches.
fn pair() -> (Trial, usize, usize, TrackId) {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera()]);
    let track = trial.track(anna, TrackSource::Camera);
    let boris = trial.connect(&[screen("0", track)]);
    trial.film(anna, "cam", 5);
    (trial, anna, boris, track)
}

#[test]
fn ice_restart_uses_old_path_until_new_path_is_checked() {
    let (mut trial, anna, boris, track) = pair();
    let old = trial.clients[boris].path;
    trial.clients[boris].checks = false;
    trial.clients[boris].ice = ("efgh".into(), "another-password-of-24-ch".into());
    let before = trial.clients[boris].server.clone();
    trial.offer(boris, &[screen("0", track)]);
    assert_ne!(trial.clients[boris].server, before);
    trial.film(anna, "cam", 5);
    let new = path(7);
    trial.clients[boris].paths.push(new);
    trial.clients[boris].path = new;
    trial.clients[boris].checks = true;
    trial.film(anna, "cam", 5);

    let paths: Vec<NetworkPath> = trial.clients[boris].received.iter().map(|it| it.path).collect();
    assert_eq!(paths, [[old; 10].as_slice(), &[new; 5]].concat());
    assert_eq!(trial.room.counters().handshakes, 2, "the association is kept");
    assert!(trial.routes.contains(&RouteUpdate::Learned(new)));
}

#[test]
fn migrated_client_keeps_media_and_old_path_expires() {
    let (mut trial, anna, boris, _) = pair();
    let (old, new) = (trial.clients[boris].path, path(9));
    trial.clients[boris].paths = vec![new];
    trial.clients[boris].path = new;
    trial.run(ms(2_000)); // until its next check
    trial.film(anna, "cam", 3);
    assert_eq!(trial.clients[boris].received.last().unwrap().path, new);
    trial.run(ms(31_000));

    assert!(trial.routes.contains(&RouteUpdate::Forgotten(old)));
    assert!(!trial.routes.contains(&RouteUpdate::Forgotten(new)));
}

#[test]
fn new_peer_connection_gets_new_dtls_and_keeps_tracks() {
    let (mut trial, anna, boris, track) = pair();
    trial.clients[anna].session += 1; // another peer connection
    let now = trial.now;
    trial.clients[anna].shake_hands(now);
    trial.clients[anna].checked = 0;
    trial.offer(anna, &[camera()]);
    trial.run(ms(50));
    trial.film(anna, "cam", 10);

    assert_eq!(trial.track(anna, TrackSource::Camera), track);
    assert_eq!(trial.room.counters().handshakes, 3);
    let seen = &trial.clients[boris].received;
    assert!(seen.len() >= 13, "{}", seen.len());
    assert!(seen.windows(2).all(|pair| pair[1].index == pair[0].index + 1));
    trial.clients[boris].session += 1;
    trial.clients[boris].shake_hands(now);
    trial.clients[boris].checked = 0;
    trial.offer(boris, &[screen("0", track)]);
    trial.film(anna, "cam", 10);
    assert!(trial.clients[boris].received.last().unwrap().at > trial.now - ms(50));
}

#[test]
fn client_without_ice_checks_times_out_and_can_reconnect() {
    let (mut trial, anna, boris, _) = pair();
    trial.clients[boris].checks = false;
    trial.run(ms(31_000));
    let gone = RoomEvent::Gone(ParticipantId(2), DisconnectReason::Silent);
    assert_eq!(trial.events.iter().filter(|event| **event == gone).count(), 1);
    assert!(!trial.events.contains(&RoomEvent::Gone(ParticipantId(1), DisconnectReason::Silent)));
    trial.clients[boris].received.clear();
    trial.film(anna, "cam", 3);
    assert_eq!(trial.clients[boris].received.len(), 0, "nobody is sent media without consent");
    trial.events.clear();
    trial.clients[boris].checks = true;
    trial.film(anna, "cam", 10);

    assert!(trial.events.contains(&RoomEvent::Connected(ParticipantId(2))));
    assert!(trial.clients[boris].received.len() > 5);
}

#[test]
fn rtcp_bye_closes_and_reoffer_reconnects() {
    let (mut trial, anna, boris, track) = pair();
    trial.clients[boris].close(trial.now);
    trial.run(ms(10));
    assert!(trial.events.contains(&RoomEvent::Gone(ParticipantId(2), DisconnectReason::Closed)));
    let now = trial.now;
    trial.clients[boris].shake_hands(now);
    trial.clients[boris].checked = 0;
    trial.clients[boris].received.clear();
    trial.offer(boris, &[screen("0", track)]);
    trial.film(anna, "cam", 10);

    assert!(trial.clients[boris].received.len() > 5);
    assert_eq!(trial.room.participants().len(), 2);
}

#[test]
fn dtls_fingerprint_mismatch_is_rejected() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.join();
    let mut offer = trial.clients[anna].offer(&[camera()]);
    let wrong = "00".repeat(32).as_bytes().chunks(2).map(|_| "00").collect::<Vec<_>>().join(":");
    offer.sdp = offer.sdp.replace(&Client::fingerprint(), &wrong);
    let answer = trial.room.offer(trial.now, ParticipantId(1), &offer).unwrap();
    trial.clients[anna].answered(trial.now, &[camera()], &answer);
    trial.run(ms(200));

    assert!(trial.events.contains(&RoomEvent::Gone(ParticipantId(1), DisconnectReason::Handshake)));
    assert_eq!(trial.room.counters().handshakes_failed, 1);
}

#[test]
fn lost_dtls_handshake_datagram_is_retransmitted() {
    for (way, nth) in [Way::Up, Way::Down].iter().flat_map(|way| (0..4).map(|nth| (*way, nth))) {
        let mut trial = Trial::new(RoomConfig::default());
        let anna = trial.join();
        let mut count = 0;
        trial.loses = Box::new(move |direction, _, datagram| {
            let handshake = direction == way && (20..64).contains(&datagram[0]);
            count += u32::from(handshake);
            handshake && count == nth + 1
        });
        trial.offer(anna, &[camera()]);
        trial.run(ms(1_500));
        assert!(trial.clients[anna].is_connected(), "{way:?} {nth}");
    }
}

#[test]
fn client_with_only_aes_cm_profile_is_accepted() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.join();
    trial.clients[anna].profiles = vec![Wire::Srtp_Aes128_Cm_Hmac_Sha1_80];
    let now = trial.now;
    trial.clients[anna].shake_hands(now);
    trial.offer(anna, &[camera()]);
    trial.run(ms(100));
    assert_eq!(trial.clients[anna].profile(), SrtpProfile::Aes128CmSha1_80);
    let track = trial.track(anna, TrackSource::Camera);
    let boris = trial.connect(&[screen("0", track)]);
    trial.film(anna, "cam", 5);

    assert_eq!(trial.clients[boris].received.len(), 5);
}

#[test]
fn unfinished_dtls_handshake_times_out() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.join();
    let mut first = true;
    trial.loses = Box::new(move |way, _, datagram| {
        let handshake = way == Way::Up && (20..64).contains(&datagram[0]);
        handshake && !std::mem::take(&mut first)
    });
    trial.offer(anna, &[camera()]);
    trial.run(ms(16_000));

    assert!(trial.events.contains(&RoomEvent::Gone(ParticipantId(1), DisconnectReason::Handshake)));
}

#[test]
fn ice_tcp_path_connects() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.join();
    let tcp = NetworkPath { transport: TransportProtocol::Tcp, remote: path(5).remote };
    trial.clients[anna].paths = vec![tcp];
    trial.clients[anna].path = tcp;
    let answer = trial.offer(anna, &[camera()]);
    trial.run(ms(50));

    assert!(trial.clients[anna].is_connected());
    assert!(answer.contains(" tcp ") && answer.contains("typ host tcptype passive"));
}

#[test]
fn claimed_path_returns_to_owner_after_next_ice_check() {
    let (mut trial, anna, boris, _) = pair();
    let path = trial.clients[anna].path;
    let (fragment, password) = trial.clients[boris].server.clone();
    trial.room.receive(trial.now, path, &mut check(&fragment, &password, false));
    trial.film(anna, "cam", 3);
    let stolen = trial.clients[boris].received.len();
    trial.run(ms(2_000));
    trial.film(anna, "cam", 5);

    assert!(trial.clients[boris].received.len() >= stolen + 5);
}
