//! Tests of VP8 payload descriptors and of counter continuity.

use proptest::prelude::*;

use super::*;

/// One packet with a 15-bit picture number, a TL0 index and a temporal layer.
fn payload(picture: u16, tl0: u8, temporal: u8, is_key_frame: bool) -> Vec<u8> {
    let [high, low] = picture.to_be_bytes();
    vec![0x90, 0xe0, 0x80 | high, low, tl0, temporal << 6, u8::from(!is_key_frame), 7, 7]
}

fn sent(munger: &mut Vp8Munger, stream_id: u32, picture: u16, tl0: u8) -> Option<(u16, u8)> {
    let mut payload = payload(picture, tl0, 0, false);
    if !munger.patch(stream_id, &mut payload) {
        return None;
    }
    let descriptor = Vp8Descriptor::parse(&payload).unwrap();
    Some((descriptor.picture_id.unwrap().number, descriptor.tl0_pic_idx.unwrap()))
}

#[test]
fn vp8_payload_descriptor_is_parsed() {
    let descriptor = Vp8Descriptor::parse(&payload(0x1234, 9, 2, true)).unwrap();
    assert_eq!(descriptor.picture_id, Some(PictureId { number: 0x1234, is_15_bit: true }));
    assert_eq!(
        (descriptor.tl0_pic_idx, descriptor.temporal_layer, descriptor.length),
        (Some(9), Some((2, false)), 6)
    );

    let seven_bit = Vp8Descriptor::parse(&[0x80, 0x80, 0x11, 0]).unwrap();
    assert_eq!(seven_bit.picture_id, Some(PictureId { number: 0x11, is_15_bit: false }));
    assert_eq!(Vp8Descriptor::parse(&[0x10, 0]).unwrap().length, 1);
    assert_eq!(Vp8Descriptor::parse(&[0x90, 0x80, 0x81]), None, "truncated");
}

#[test]
fn vp8_key_frame_begins_with_first_partition() {
    assert!(starts_key_frame(&payload(1, 1, 0, true)));
    assert!(!starts_key_frame(&payload(1, 1, 0, false)), "predicted");
    assert!(!starts_key_frame(&[0x00, 0x00]), "not the start of a partition");
    assert!(!starts_key_frame(&[0x11, 0x00]), "another partition");
}

#[test]
fn vp8_switch_continues_picture_id_and_tl0picidx() {
    let mut munger = Vp8Munger::default();
    munger.switch(1);
    assert_eq!(sent(&mut munger, 1, 32_767, 255), Some((32_767, 255)));
    assert_eq!(sent(&mut munger, 1, 0, 0), Some((0, 0)), "both wrap");
    munger.switch(2);
    assert_eq!(sent(&mut munger, 2, 500, 40), Some((1, 1)));
    assert_eq!(sent(&mut munger, 2, 501, 40), Some((2, 1)));

    assert_eq!(sent(&mut munger, 1, 32_767, 255), Some((32_767, 255)), "retransmitted");
    assert_eq!(sent(&mut munger, 1, 1, 0), None, "too late: its picture id is used");
    assert_eq!(sent(&mut munger, 2, 499, 40), None, "from before the switch");
}

#[test]
fn seven_bit_picture_id_stays_seven_bits() {
    let mut munger = Vp8Munger::default();
    munger.switch(1);
    let mut payload = [0x80, 0x80, 0x7f, 1];
    assert!(munger.patch(1, &mut payload));
    munger.switch(2);
    let mut payload = [0x80, 0x80, 0x33, 1];
    assert!(munger.patch(2, &mut payload));
    assert_eq!(payload, [0x80, 0x80, 0x00, 1]);
}

#[test]
fn vp8_munger_forwards_two_million_pictures_unchanged() {
    let mut munger = Vp8Munger::default();
    munger.switch(1);
    for n in 0..2_000_000u32 {
        let picture = u16::try_from(n % 32_768).unwrap();
        assert_eq!(sent(&mut munger, 1, picture, 0), Some((picture, 0)));
    }
}

proptest! {
    /// Pictures of changing streams, some of them missing.
    #[test]
    fn picture_id_increments_by_one_plus_missing_pictures(
        starts in prop::collection::vec(0u16..32_768, 1..6),
        arrivals in prop::collection::vec(any::<bool>(), 1..60),
    ) {
        let mut munger = Vp8Munger::default();
        let mut last = None;
        for (stream_id, start) in starts.into_iter().enumerate() {
            let stream_id = u32::try_from(stream_id).unwrap();
            munger.switch(stream_id);
            let mut missing = 0;
            for (n, arrives) in [true].into_iter().chain(arrivals.iter().copied()).enumerate() {
                let picture = start.wrapping_add(u16::try_from(n).unwrap()) % 32_768;
                if !arrives {
                    missing += 1;
                    continue;
                }
                let (number, _) = sent(&mut munger, stream_id, picture, 0).unwrap();
                if let Some(last) = last {
                    prop_assert_eq!(distance(number, last, 32_768), 1 + missing);
                }
                last = Some(number);
                missing = 0;
            }
        }
    }

    #[test]
    fn arbitrary_payload_keeps_length_in_vp8_munger(
        payloads in prop::collection::vec((any::<bool>(), 0u32..3, prop::collection::vec(any::<u8>(), 0..10)), 0..50)
    ) {
        let mut munger = Vp8Munger::default();
        for (switch, stream_id, mut payload) in payloads {
            if switch {
                munger.switch(stream_id);
            } else {
                let length = payload.len();
                munger.patch(stream_id, &mut payload);
                prop_assert_eq!(payload.len(), length);
            }
        }
    }
}
