//! Compatibility with rtc-srtp in both directions, and rejection of tampered packets.

use proptest::prelude::*;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;
use crate::limits::MAX_OVERHEAD_BYTES;

const PROFILES: [(SrtpProfile, ProtectionProfile); 2] = [
    (SrtpProfile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (SrtpProfile::Aes128CmSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
];

fn session(profile: SrtpProfile) -> (Vec<u8>, Vec<u8>, SrtpContext) {
    let provider = rtc_crypto::default_provider().unwrap();
    let key: Vec<u8> = (0..16).collect();
    let salt: Vec<u8> = (50..).take(profile.salt_len()).collect();
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

fn with_overhead(mut packet: Vec<u8>) -> Vec<u8> {
    packet.extend([0; MAX_OVERHEAD_BYTES]);
    packet
}

#[test]
fn srtp_matches_rtc_srtp_across_rollover() {
    let provider = rtc_crypto::default_provider().unwrap();
    for (profile, their_profile) in PROFILES {
        let (key, salt, mut context) = session(profile);
        assert_eq!(context.profile(), profile);
        let their_context =
            || Context::new(&key, &salt, their_profile, None, None, provider.crypto()).unwrap();
        let (mut reader, mut writer) = (their_context(), their_context());
        for index in 65_530u64..65_545 {
            let plain = rtp(index as u16, &[9; 900]);
            let mut encrypted = with_overhead(plain.clone());
            let length = context.encrypt_rtp(&mut encrypted, 12, plain.len(), index).unwrap();
            assert_eq!(reader.decrypt_rtp(&encrypted[..length]).unwrap(), plain);
            let mut their_packet = writer.encrypt_rtp(&plain).unwrap().to_vec();
            assert_eq!(their_packet, encrypted[..length]);
            assert_eq!(context.decrypt_rtp(&mut their_packet, 12, index), Some(plain.len()));
            assert_eq!(their_packet[..plain.len()], plain);

            let plain = [&[0x81, 201, 0, 7, 0, 0, 0, 9][..], &[5; 24]].concat();
            let mut encrypted = with_overhead(plain.clone());
            let length = context.encrypt_rtcp(&mut encrypted, plain.len()).unwrap();
            assert_eq!(reader.decrypt_rtcp(&encrypted[..length]).unwrap(), plain);
            let mut their_packet = writer.encrypt_rtcp(&plain).unwrap().to_vec();
            assert_eq!(
                context.decrypt_rtcp(&mut their_packet).map(|(length, _)| length),
                Some(plain.len())
            );
            assert_eq!(their_packet[..plain.len()], plain);
        }
    }
}

proptest! {
    #[test]
    fn tampered_srtp_packet_is_rejected(at in 0usize..60, bit in 0u8..8, gcm: bool) {
        let (_, _, mut context) = session(if gcm { PROFILES[0].0 } else { PROFILES[1].0 });
        let mut encrypted = with_overhead(rtp(5, &[1; 40]));
        let length = context.encrypt_rtp(&mut encrypted, 12, 52, 5).unwrap();
        encrypted[at] ^= 1 << bit;
        prop_assert_eq!(context.decrypt_rtp(&mut encrypted[..length], 12, 5), None);
    }

    #[test]
    fn arbitrary_bytes_are_rejected_by_srtp(mut bytes in prop::collection::vec(any::<u8>(), 0..80), header in 0usize..90, gcm: bool) {
        let (_, _, mut context) = session(if gcm { PROFILES[0].0 } else { PROFILES[1].0 });
        prop_assert_eq!(context.decrypt_rtp(&mut bytes.clone(), header, 5), None);
        prop_assert_eq!(context.decrypt_rtcp(&mut bytes), None);
        let _ = context.encrypt_rtp(&mut bytes, header, 40, 7);
        let _ = context.encrypt_rtcp(&mut bytes, header);
    }
}
