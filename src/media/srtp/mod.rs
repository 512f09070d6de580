//! SRTP and SRTCP in place (RFC 3711, RFC 7714), for one direction of one DTLS association.

mod keys;
mod window;

use keys::CipherContext;
use rtc_crypto::{CryptoError, RTCCrypto};
pub(crate) use window::{ReplayWindow, extend_sequence};

/// The supported protection profiles of DTLS-SRTP (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SrtpProfile {
    /// `AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `AES128_CM_HMAC_SHA1_80`.
    Aes128CmSha1_80,
}

/// Length of a master key in bytes.
pub(crate) const MASTER_KEY_BYTES: usize = 16;

impl SrtpProfile {
    /// Length of a master salt in bytes.
    pub(crate) fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    /// Length of an authentication tag in bytes.
    fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 16,
            Self::Aes128CmSha1_80 => 10,
        }
    }
}

/// The cryptographic context of one direction. The caller passes packet indices, so it looks up nothing.
pub(crate) struct SrtpContext {
    profile: SrtpProfile,
    rtp: CipherContext,
    rtcp: CipherContext,
    rtcp_index: u32,
}

/// The E flag of the SRTCP index word.
const ENCRYPTED_FLAG: u32 = 0x8000_0000;
/// Length of the part of an RTCP packet that is not encrypted.
const RTCP_HEADER_BYTES: usize = 8;

impl SrtpContext {
    /// Derives the session keys from a master key and salt (RFC 3711 §4.3).
    pub(crate) fn new(
        profile: SrtpProfile,
        key: &[u8],
        salt: &[u8],
        crypto: &dyn RTCCrypto,
    ) -> Result<Self, CryptoError> {
        let rtp = CipherContext::derive(profile, key, salt, 0, crypto)?;
        let rtcp = CipherContext::derive(profile, key, salt, 3, crypto)?;
        Ok(Self { profile, rtp, rtcp, rtcp_index: 0 })
    }

    #[cfg(test)]
    pub(crate) fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Protects `buffer[..length]`, whose header is `header` bytes long; [`crate::limits::MAX_OVERHEAD_BYTES`] must be available
    /// behind it. Returns the new length.
    pub(crate) fn encrypt_rtp(
        &mut self,
        buffer: &mut [u8],
        header: usize,
        length: usize,
        index: u64,
    ) -> Option<usize> {
        let ssrc = buffer.get(8..12)?.try_into().ok()?;
        let (packet, tail) = buffer.split_at_mut_checked(length)?;
        let (header_bytes, body) = packet.split_at_mut_checked(header)?;
        let tag = tail.get_mut(..self.profile.tag_len())?;
        self.rtp.encrypt(ssrc, index, &[header_bytes, &rollover(index)], body, tag)?;
        Some(length + self.profile.tag_len())
    }

    /// Authenticates and decrypts a packet in place. Returns the length of the plain packet.
    pub(crate) fn decrypt_rtp(
        &mut self,
        buffer: &mut [u8],
        header: usize,
        index: u64,
    ) -> Option<usize> {
        let ssrc = buffer.get(8..12)?.try_into().ok()?;
        let length = buffer.len().checked_sub(self.profile.tag_len())?;
        let (packet, tag) = buffer.split_at_mut_checked(length)?;
        let (header_bytes, body) = packet.split_at_mut_checked(header)?;
        self.rtp.decrypt(ssrc, index, &[header_bytes, &rollover(index)], body, tag)?;
        Some(length)
    }

    /// Protects `buffer[..length]`; [`crate::limits::MAX_OVERHEAD_BYTES`] must be available behind it. Returns the new length.
    pub(crate) fn encrypt_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        self.rtcp_index = (self.rtcp_index + 1) & !ENCRYPTED_FLAG;
        let word = (ENCRYPTED_FLAG | self.rtcp_index).to_be_bytes();
        let ssrc = buffer.get(4..8)?.try_into().ok()?;
        let (plain, tail) = buffer.split_at_mut_checked(length)?;
        let (head, body) = plain.split_at_mut_checked(RTCP_HEADER_BYTES)?;
        let (tag_offset, word_offset) = self.trailer_offsets();
        let index = u64::from(self.rtcp_index);
        let tag = tail.get_mut(tag_offset..tag_offset + self.profile.tag_len())?;
        self.rtcp.encrypt(ssrc, index, &[head, &word], body, tag)?;
        tail.get_mut(word_offset..word_offset + 4)?.copy_from_slice(&word);
        Some(length + self.profile.tag_len() + 4)
    }

    /// Authenticates and decrypts a packet in place. Returns the length of the plain packet and its SRTCP
    /// index.
    pub(crate) fn decrypt_rtcp(&mut self, buffer: &mut [u8]) -> Option<(usize, u32)> {
        let ssrc = buffer.get(4..8)?.try_into().ok()?;
        let length = buffer.len().checked_sub(self.profile.tag_len() + 4)?;
        let (plain, tail) = buffer.split_at_mut_checked(length)?;
        let (head, body) = plain.split_at_mut_checked(RTCP_HEADER_BYTES)?;
        let (tag_offset, word_offset) = self.trailer_offsets();
        let word: [u8; 4] = tail.get(word_offset..word_offset + 4)?.try_into().ok()?;
        let tag = tail.get(tag_offset..tag_offset + self.profile.tag_len())?;
        let index = u32::from_be_bytes(word);
        if index & ENCRYPTED_FLAG == 0 {
            return None; // WebRTC never negotiates SRTCP without encryption
        }
        let index = index & !ENCRYPTED_FLAG;
        self.rtcp.decrypt(ssrc, u64::from(index), &[head, &word], body, tag)?;
        Some((length, index))
    }

    /// Offsets of tag and index behind an RTCP packet, which differ between RFC 7714 §9.3 and RFC 3711 §3.4.
    fn trailer_offsets(&self) -> (usize, usize) {
        match self.profile {
            SrtpProfile::AeadAes128Gcm => (0, self.profile.tag_len()),
            SrtpProfile::Aes128CmSha1_80 => (4, 0),
        }
    }
}

/// The rollover counter, which the HMAC covers though it is not transmitted.
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests;
