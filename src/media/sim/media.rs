//! What a client sends: pictures and sound of a few bytes, and both again.

use crate::MediaKind;
use crate::rtp::HeaderExtensionWriter;

use super::client::Client;

impl Client {
    /// The SSRC of what is published in a section, and its newest timestamp.
    pub(crate) fn clock(&self, mid: &str) -> (u32, u32) {
        self.clocks(mid)[0]
    }

    /// The same of all layers.
    pub(crate) fn clocks(&self, mid: &str) -> Vec<(u32, u32)> {
        let all = self.streams(mid, None).into_iter().map(|at| &self.sending[at]);
        all.map(|it| (it.ssrc, it.timestamp)).collect()
    }

    /// Which of its streams these are: by section and layer.
    fn streams(&self, mid: &str, rid: Option<&str>) -> Vec<usize> {
        let all = self.sending.iter().enumerate();
        let of = all.filter(|(_, it)| it.mid == mid && rid.is_none_or(|rid| it.rid == Some(rid)));
        of.map(|(at, _)| at).collect()
    }

    /// Sends one picture of one packet on each layer.
    pub(crate) fn send_picture(&mut self, mid: &str) {
        self.send_picture_of(mid, None);
    }

    /// The same on one layer.
    pub(crate) fn send_picture_of(&mut self, mid: &str, rid: Option<&str>) {
        for at in self.streams(mid, rid) {
            let it = &mut self.sending[at];
            it.picture = (it.picture + 1) & 0x7fff;
            it.timestamp = it.timestamp.wrapping_add(3600);
            let [high, low] = it.picture.to_be_bytes();
            let inter = u8::from(!std::mem::take(&mut it.key_wanted));
            let rid = it.rid.map_or(b'-', |rid| rid.as_bytes()[0]);
            // a VP8 descriptor with a wide PictureID, the first byte of the frame, what tells it apart
            let payload = [0x90, 0x80, 0x80 | high, low, inter, rid, it.index as u8];
            self.send(at, 96, &payload, None);
        }
    }

    /// Sends a picture of several packets of 1,000 bytes on one layer.
    pub(crate) fn send_large_picture(&mut self, mid: &str, rid: &str, packets: usize) {
        self.send_picture_of(mid, Some(rid));
        for at in self.streams(mid, Some(rid)) {
            let [high, low] = self.sending[at].picture.to_be_bytes();
            let mut payload = vec![0; 1000];
            payload[..6].copy_from_slice(&[0x80, 0x80, 0x80 | high, low, 1, rid.as_bytes()[0]]);
            (0..packets).for_each(|_| self.send(at, 96, &payload, None));
        }
    }

    /// Sends 20 ms of sound.
    pub(crate) fn send_sound(&mut self, mid: &str, level: u8) {
        for at in self.streams(mid, None) {
            self.sending[at].timestamp = self.sending[at].timestamp.wrapping_add(960);
            let payload = [self.sending[at].index as u8, 1, 2, 3];
            self.send(at, 111, &payload, Some(level));
        }
    }

    /// Sends a payload as the next packet of a stream.
    pub(crate) fn send(&mut self, at: usize, payload_type: u8, payload: &[u8], level: Option<u8>) {
        let it = &mut self.sending[at];
        it.index += 1;
        let (index, ssrc, timestamp) = (it.index, it.ssrc, it.timestamp);
        it.sent.insert(index as u16, payload.to_vec());
        let (mid, rid, kind) = (it.mid.clone(), it.rid, it.kind);
        assert!(kind == MediaKind::Video || payload_type != 96);
        self.protect((payload_type, ssrc, timestamp), index, payload, |extending| {
            extending.add(Some(4), mid.as_bytes());
            if let Some(rid) = rid {
                extending.add(Some(10), rid.as_bytes());
            }
            if let Some(level) = level {
                extending.add(Some(1), &[level]);
            }
        });
    }

    pub(super) fn repair(&mut self, ssrc: u32, sequence: u16) {
        let it = self.sending.iter_mut().find(|it| it.ssrc == ssrc).unwrap();
        let Some(payload) = it.sent.get(&sequence) else { return };
        let payload = [&sequence.to_be_bytes()[..], payload].concat();
        it.repair_index += 1;
        let (index, ssrc, timestamp) = (it.repair_index, it.repair_ssrc, it.timestamp);
        let (mid, rid) = (it.mid.clone(), it.rid);
        self.protect((97, ssrc, timestamp), index, &payload, |extending| {
            extending.add(Some(4), mid.as_bytes());
            if let Some(rid) = rid {
                extending.add(Some(11), rid.as_bytes());
            }
        });
    }

    fn protect(
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
        let mut extending = HeaderExtensionWriter::new(&mut bytes);
        self.transport = self.transport.wrapping_add(1);
        extending.add(Some(3), &self.transport.to_be_bytes());
        extend(&mut extending);
        let header = extending.finish();
        let end = header + payload.len();
        bytes[header..end].copy_from_slice(payload);
        let (_, outgoing) = self.keys.as_mut().unwrap();
        let length = outgoing.seal_rtp(&mut bytes, header, end, index & 0xffff_ffff).unwrap();
        bytes.truncate(length);
        self.queue.push((self.path, bytes));
    }
}
