//! SRTP and SRTCP in place (RFC 3711, RFC 7714): one direction of one DTLS association.

mod keys;
mod window;

pub(crate) use window::{ReplayWindow, extend};

use keys::CipherContext;
use rtc_crypto::{CryptoError, RTCCrypto};

/// The protection profiles of DTLS-SRTP that are spoken here (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SrtpProfile {
    /// `AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `AES128_CM_HMAC_SHA1_80`.
    Aes128CmSha1_80,
}

/// Bytes of a master key.
pub(crate) const MASTER_KEY_LEN: usize = 16;
/// The most bytes that [`SrtpContext::seal_rtp`] or [`SrtpContext::seal_rtcp`] append.
pub(crate) const OVERHEAD: usize = 20;

impl SrtpProfile {
    /// Bytes of a master salt.
    pub(crate) fn salt(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    fn tag(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 16,
            Self::Aes128CmSha1_80 => 10,
        }
    }
}

/// The keys of one direction. Packet indices are the caller's, so nothing is looked up here.
pub(crate) struct SrtpContext {
    profile: SrtpProfile,
    rtp: CipherContext,
    rtcp: CipherContext,
    rtcp_index: u32,
}

/// The word that marks an SRTCP packet as encrypted.
const ENCRYPTED: u32 = 0x8000_0000;
/// What of an RTCP packet is not encrypted.
const RTCP_HEADER: usize = 8;

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

    /// Protects `buffer[..length]`, whose header is `header` bytes long; [`OVERHEAD`] bytes must lie
    /// behind it. Gives the new length.
    pub(crate) fn seal_rtp(
        &mut self,
        buffer: &mut [u8],
        header: usize,
        length: usize,
        index: u64,
    ) -> Option<usize> {
        let ssrc = buffer.get(8..12)?.try_into().ok()?;
        let (plain, tail) = buffer.split_at_mut_checked(length)?;
        let (head, body) = plain.split_at_mut_checked(header)?;
        let tag = tail.get_mut(..self.profile.tag())?;
        self.rtp.seal(ssrc, index, &[head, &rollover(index)], body, tag)?;
        Some(length + self.profile.tag())
    }

    /// Verifies and decrypts a whole packet in place. Gives the length of what was protected.
    pub(crate) fn open_rtp(
        &mut self,
        buffer: &mut [u8],
        header: usize,
        index: u64,
    ) -> Option<usize> {
        let ssrc = buffer.get(8..12)?.try_into().ok()?;
        let length = buffer.len().checked_sub(self.profile.tag())?;
        let (plain, tag) = buffer.split_at_mut_checked(length)?;
        let (head, body) = plain.split_at_mut_checked(header)?;
        self.rtp.open(ssrc, index, &[head, &rollover(index)], body, tag)?;
        Some(length)
    }

    /// Protects `buffer[..length]`; [`OVERHEAD`] bytes must lie behind it. Gives the new length.
    pub(crate) fn seal_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        self.rtcp_index = (self.rtcp_index + 1) & !ENCRYPTED;
        let word = (ENCRYPTED | self.rtcp_index).to_be_bytes();
        let ssrc = buffer.get(4..8)?.try_into().ok()?;
        let (plain, tail) = buffer.split_at_mut_checked(length)?;
        let (head, body) = plain.split_at_mut_checked(RTCP_HEADER)?;
        let (tag_at, word_at) = self.trailer();
        let index = u64::from(self.rtcp_index);
        let tag = tail.get_mut(tag_at..tag_at + self.profile.tag())?;
        self.rtcp.seal(ssrc, index, &[head, &word], body, tag)?;
        tail.get_mut(word_at..word_at + 4)?.copy_from_slice(&word);
        Some(length + self.profile.tag() + 4)
    }

    /// Verifies and decrypts a whole packet in place. Gives the length of what was protected, and
    /// its index.
    pub(crate) fn open_rtcp(&mut self, buffer: &mut [u8]) -> Option<(usize, u32)> {
        let ssrc = buffer.get(4..8)?.try_into().ok()?;
        let length = buffer.len().checked_sub(self.profile.tag() + 4)?;
        let (plain, tail) = buffer.split_at_mut_checked(length)?;
        let (head, body) = plain.split_at_mut_checked(RTCP_HEADER)?;
        let (tag_at, word_at) = self.trailer();
        let word: [u8; 4] = tail.get(word_at..word_at + 4)?.try_into().ok()?;
        let tag = tail.get(tag_at..tag_at + self.profile.tag())?;
        let index = u32::from_be_bytes(word);
        if index & ENCRYPTED == 0 {
            return None; // WebRTC never negotiates SRTCP without encryption
        }
        let index = index & !ENCRYPTED;
        self.rtcp.open(ssrc, u64::from(index), &[head, &word], body, tag)?;
        Some((length, index))
    }

    /// Where the tag and the index lie behind an RTCP packet: RFC 7714 §9.3 and RFC 3711 §3.4 differ.
    fn trailer(&self) -> (usize, usize) {
        match self.profile {
            SrtpProfile::AeadAes128Gcm => (0, self.profile.tag()),
            SrtpProfile::Aes128CmSha1_80 => (4, 0),
        }
    }
}

/// The rollover counter, which HMAC covers though it is not sent.
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests;
