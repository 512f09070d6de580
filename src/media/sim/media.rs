//! Media of a simulated client: frames and audio packets of a few bytes, and their retransmissions.

use super::client::Client;
use crate::MediaKind;
use crate::rtp::HeaderExtensionWriter;

impl Client {
    /// SSRC and newest timestamp of the stream that is published in a section.
    pub(crate) fn ssrc_and_timestamp(&self, mid: &str) -> (u32, u32) {
        self.ssrcs_and_timestamps(mid)[0]
    }

    /// SSRC and newest timestamp of each layer.
    pub(crate) fn ssrcs_and_timestamps(&self, mid: &str) -> Vec<(u32, u32)> {
        let streams = self.stream_indices(mid, None).into_iter().map(|index| &self.streams[index]);
        streams.map(|stream| (stream.ssrc, stream.timestamp)).collect()
    }

    /// Indices of the sent streams with this section and layer.
    fn stream_indices(&self, mid: &str, rid: Option<&str>) -> Vec<usize> {
        let streams = self.streams.iter().enumerate();
        let matching = streams.filter(|(_, stream)| {
            stream.mid == mid && rid.is_none_or(|rid| stream.rid == Some(rid))
        });
        matching.map(|(index, _)| index).collect()
    }

    /// Sends one frame of one packet on each layer.
    pub(crate) fn send_frame(&mut self, mid: &str) {
        self.send_frame_on(mid, None);
    }

    /// Sends one frame of one packet on one layer, or on all.
    pub(crate) fn send_frame_on(&mut self, mid: &str, rid: Option<&str>) {
        for index in self.stream_indices(mid, rid) {
            let stream = &mut self.streams[index];
            stream.picture_id = (stream.picture_id + 1) & 0x7fff;
            stream.timestamp = stream.timestamp.wrapping_add(3600);
            let [high, low] = stream.picture_id.to_be_bytes();
            let inter = u8::from(!std::mem::take(&mut stream.key_frame_requested));
            let rid = stream.rid.map_or(b'-', |rid| rid.as_bytes()[0]);
            // VP8 descriptor with a 15-bit PictureID, first byte of the frame, layer and packet number
            let payload = [0x90, 0x80, 0x80 | high, low, inter, rid, stream.index as u8];
            self.send(index, 96, &payload, None);
        }
    }

    /// Sends a frame of several packets of 1,000 bytes on one layer.
    pub(crate) fn send_large_frame(&mut self, mid: &str, rid: &str, packets: usize) {
        self.send_frame_on(mid, Some(rid));
        for index in self.stream_indices(mid, Some(rid)) {
            let [high, low] = self.streams[index].picture_id.to_be_bytes();
            let mut payload = vec![0; 1000];
            payload[..6].copy_from_slice(&[0x80, 0x80, 0x80 | high, low, 1, rid.as_bytes()[0]]);
            (0..packets).for_each(|_| self.send(index, 96, &payload, None));
        }
    }

    /// Sends 20 ms of audio.
    pub(crate) fn send_audio(&mut self, mid: &str, level: u8) {
        for index in self.stream_indices(mid, None) {
            self.streams[index].timestamp = self.streams[index].timestamp.wrapping_add(960);
            let payload = [self.streams[index].index as u8, 1, 2, 3];
            self.send(index, 111, &payload, Some(level));
        }
    }

    /// Sends a payload as the next packet of a stream.
    pub(crate) fn send(
        &mut self,
        index: usize,
        payload_type: u8,
        payload: &[u8],
        level: Option<u8>,
    ) {
        let stream = &mut self.streams[index];
        stream.index += 1;
        let (index, ssrc, timestamp) = (stream.index, stream.ssrc, stream.timestamp);
        stream.sent_payloads.insert(index as u16, payload.to_vec());
        let (mid, rid, kind) = (stream.mid.clone(), stream.rid, stream.kind);
        assert!(kind == MediaKind::Video || payload_type != 96);
        self.send_protected((payload_type, ssrc, timestamp), index, payload, |extensions| {
            extensions.add(Some(4), mid.as_bytes());
            if let Some(rid) = rid {
                extensions.add(Some(10), rid.as_bytes());
            }
            if let Some(level) = level {
                extensions.add(Some(1), &[level]);
            }
        });
    }

    pub(super) fn retransmit(&mut self, ssrc: u32, sequence: u16) {
        let stream = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc).unwrap();
        let Some(payload) = stream.sent_payloads.get(&sequence) else { return };
        let payload = [&sequence.to_be_bytes()[..], payload].concat();
        stream.rtx_index += 1;
        let (index, ssrc, timestamp) = (stream.rtx_index, stream.rtx_ssrc, stream.timestamp);
        let (mid, rid) = (stream.mid.clone(), stream.rid);
        self.send_protected((97, ssrc, timestamp), index, &payload, |extensions| {
            extensions.add(Some(4), mid.as_bytes());
            if let Some(rid) = rid {
                extensions.add(Some(11), rid.as_bytes());
            }
        });
    }

    fn send_protected(
        &mut self,
        (payload_type, ssrc, timestamp): (u8, u32, u32),
        index: u64,
        payload: &[u8],
        extend: impl FnOnce(&mut HeaderExtensionWriter<'_>),
    ) {
        let mut bytes = vec![0; 200 + payload.len()];
        bytes[0] = 0x80;
        bytes[1] = payload_type | 0x80;
        bytes[2..4].copy_from_slice(&(index as u16).to_be_bytes());
        bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
        let mut extensions = HeaderExtensionWriter::new(&mut bytes);
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        extensions.add(Some(3), &self.transport_sequence.to_be_bytes());
        extend(&mut extensions);
        let payload_start = extensions.finish();
        let end = payload_start + payload.len();
        bytes[payload_start..end].copy_from_slice(payload);
        let (_, outbound) = self.srtp.as_mut().unwrap();
        let length =
            outbound.encrypt_rtp(&mut bytes, payload_start, end, index & 0xffff_ffff).unwrap();
        bytes.truncate(length);
        self.send_queue.push((self.path, bytes));
    }
}
