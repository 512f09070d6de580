//! Round trips, compatibility with rtc-rtcp, and arbitrary bytes.

use proptest::prelude::*;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::*;

#[test]
fn rtcp_compound_is_readable_by_rtc_rtcp() {
    let block = ReportBlock {
        ssrc: 7,
        fraction_lost: 64,
        cumulative_lost: -3,
        highest_sequence: 70_000,
        ..ReportBlock::default()
    };
    let mut compound = CompoundWriter::default();
    compound.receiver_report(1, &[block]);
    compound.nack(1, 7, &[65_535, 0, 16, 100]);
    compound.pli(1, 7);
    compound.remb(1, 3_000_000, &[7, 8]);
    let parsed = rtc_rtcp::packet::unmarshal(&mut compound.bytes()).unwrap();
    let report: &ReceiverReport = parsed[0].as_any().downcast_ref().unwrap();
    assert_eq!((report.reports[0].ssrc, report.reports[0].fraction_lost), (7, 64));
    let nack: &TransportLayerNack = parsed[1].as_any().downcast_ref().unwrap();
    let requested: Vec<u16> = nack.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
    assert_eq!(requested, [65_535, 0, 16, 100]);
    let loss: &PictureLossIndication = parsed[2].as_any().downcast_ref().unwrap();
    assert_eq!(loss.media_ssrc, 7);
    let remb: &ReceiverEstimatedMaximumBitrate = parsed[3].as_any().downcast_ref().unwrap();
    assert!((remb.bitrate - 3e6).abs() < 20.0);

    let own: Vec<_> = packets(compound.bytes()).collect();
    assert_eq!(own[0].report_blocks().collect::<Vec<_>>(), [block]);
    assert_eq!(own[1].nack_sequences().collect::<Vec<_>>(), [65_535, 0, 16, 100]);
    assert_eq!(own[3].remb_bps(), Some(2_999_984 + 16));
}

proptest! {
    #[test]
    fn nack_round_trips_missing_sequences(start: u16, steps in prop::collection::vec(1u16..40, 0..60)) {
        let missing: Vec<u16> = steps.iter().scan(start, |at, step| {
            *at = at.wrapping_add(*step);
            Some(*at)
        }).collect();
        let mut compound = CompoundWriter::default();
        compound.nack(1, 2, &missing);
        let packet = packets(compound.bytes()).next().unwrap();
        prop_assert_eq!((packet.packet_type, packet.count, packet.media_ssrc()), (TRANSPORT_FEEDBACK, NACK, Some(2)));
        prop_assert_eq!(packet.nack_sequences().collect::<Vec<_>>(), missing);
    }

    #[test]
    fn sender_report_round_trips(ssrc: u32, ntp: u64, timestamp: u32) {
        let report = SenderInfo { ssrc, ntp, timestamp };
        let mut compound = CompoundWriter::default();
        compound.sender_report(&report, 3, 4);
        prop_assert_eq!(packets(compound.bytes()).next().unwrap().sender_info(), Some(report));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic_rtcp_parser(mut bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 200u8..208) {
        if bytes.len() > 4 {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            bytes[1] = kind;
            let words = (bytes.len() / 4 - 1) as u16;
            bytes[2..4].copy_from_slice(&words.to_be_bytes());
        }
        for packet in packets(&bytes) {
            let _ = (packet.sender_info(), packet.report_blocks().count(), packet.media_ssrc());
            let _ = (packet.nack_sequences().count(), packet.fir_ssrcs().count(), packet.remb_bps());
        }
    }
}
