//! Our SRTP agrees with rtc-srtp in both directions, and opens nothing that was touched.

use proptest::prelude::*;
use rtc_srtp::{context::Context, protection_profile::ProtectionProfile};

use super::*;

const BOTH: [(SrtpProfile, ProtectionProfile); 2] = [
    (SrtpProfile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (SrtpProfile::Aes128CmSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
];

fn session(profile: SrtpProfile) -> (Vec<u8>, Vec<u8>, SrtpContext) {
    let provider = rtc_crypto::default_provider().unwrap();
    let key: Vec<u8> = (0..16).collect();
    let salt: Vec<u8> = (50..).take(profile.salt()).collect();
    let session = SrtpContext::new(profile, &key, &salt, provider.crypto()).unwrap();
    (key, salt, session)
}

fn rtp(sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 77]);
    packet.extend(payload);
    packet
}

fn with_room(mut packet: Vec<u8>) -> Vec<u8> {
    packet.extend([0; OVERHEAD]);
    packet
}

#[test]
fn srtp_matches_rtc_srtp_across_rollover() {
    let provider = rtc_crypto::default_provider().unwrap();
    for (profile, theirs) in BOTH {
        let (key, salt, mut ours) = session(profile);
        assert_eq!(ours.profile(), profile);
        let context = || Context::new(&key, &salt, theirs, None, None, provider.crypto()).unwrap();
        let (mut reader, mut writer) = (context(), context());
        for index in 65_530u64..65_545 {
            let plain = rtp(index as u16, &[9; 900]);
            let mut sealed = with_room(plain.clone());
            let length = ours.seal_rtp(&mut sealed, 12, plain.len(), index).unwrap();
            assert_eq!(reader.decrypt_rtp(&sealed[..length]).unwrap(), plain);
            let mut theirs = writer.encrypt_rtp(&plain).unwrap().to_vec();
            assert_eq!(theirs, sealed[..length]);
            assert_eq!(ours.open_rtp(&mut theirs, 12, index), Some(plain.len()));
            assert_eq!(theirs[..plain.len()], plain);

            let plain = [&[0x81, 201, 0, 7, 0, 0, 0, 9][..], &[5; 24]].concat();
            let mut sealed = with_room(plain.clone());
            let length = ours.seal_rtcp(&mut sealed, plain.len()).unwrap();
            assert_eq!(reader.decrypt_rtcp(&sealed[..length]).unwrap(), plain);
            let mut theirs = writer.encrypt_rtcp(&plain).unwrap().to_vec();
            assert_eq!(ours.open_rtcp(&mut theirs).map(|(length, _)| length), Some(plain.len()));
            assert_eq!(theirs[..plain.len()], plain);
        }
    }
}

proptest! {
    #[test]
    fn tampered_srtp_packet_is_rejected(at in 0usize..60, bit in 0u8..8, gcm: bool) {
        let (_, _, mut ours) = session(if gcm { BOTH[0].0 } else { BOTH[1].0 });
        let mut sealed = with_room(rtp(5, &[1; 40]));
        let length = ours.seal_rtp(&mut sealed, 12, 52, 5).unwrap();
        sealed[at] ^= 1 << bit;
        prop_assert_eq!(ours.open_rtp(&mut sealed[..length], 12, 5), None);
    }

    #[test]
    fn arbitrary_bytes_are_rejected_by_srtp(mut bytes in prop::collection::vec(any::<u8>(), 0..80), header in 0usize..90, gcm: bool) {
        let (_, _, mut ours) = session(if gcm { BOTH[0].0 } else { BOTH[1].0 });
        prop_assert_eq!(ours.open_rtp(&mut bytes.clone(), header, 5), None);
        prop_assert_eq!(ours.open_rtcp(&mut bytes), None);
        let _ = ours.seal_rtp(&mut bytes, header, 40, 7);
        let _ = ours.seal_rtcp(&mut bytes, header);
    }
}
