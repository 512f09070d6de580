//! Session keys and ciphers of SRTP (RFC 3711 §4, RFC 7714), on the primitives of `rtc-crypto`.

use rtc_crypto::{
    AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CryptoError, HmacAlgorithm, Mac, RTCCrypto,
    StreamCipher, StreamCipherAlgorithm, constant_time_eq,
};

use super::{MASTER_KEY_BYTES, SrtpProfile};

/// Length of the longest session salt.
const MASTER_SALT_BYTES: usize = 14;
/// Length of a full HMAC-SHA1 tag and of its key.
const SHA1_BYTES: usize = 20;

/// The keyed cipher of a protection profile.
enum SrtpCipher {
    AesGcm(Box<dyn AeadCipher>),
    AesCounter(Box<dyn StreamCipher>, Box<dyn Mac>),
}

/// A cipher with its session key and salt, for RTP or for RTCP.
pub(super) struct CipherContext {
    cipher: SrtpCipher,
    salt: [u8; MASTER_SALT_BYTES],
}

impl CipherContext {
    /// Derives the session keys of the three labels starting at `label` (RFC 3711 §4.3.2).
    pub(super) fn derive(
        profile: SrtpProfile,
        key: &[u8],
        salt: &[u8],
        label: u8,
        crypto: &dyn RTCCrypto,
    ) -> Result<Self, CryptoError> {
        let (mut session_key, mut mac_key, mut session_salt) =
            ([0; MASTER_KEY_BYTES], [0; SHA1_BYTES], [0; MASTER_SALT_BYTES]);
        derive_key(crypto, key, salt, label, &mut session_key)?;
        derive_key(crypto, key, salt, label + 1, &mut mac_key)?;
        derive_key(crypto, key, salt, label + 2, &mut session_salt[..profile.salt_len()])?;
        let cipher = match profile {
            SrtpProfile::AeadAes128Gcm => {
                SrtpCipher::AesGcm(crypto.new_aead(AeadAlgorithm::Aes128Gcm, &session_key)?)
            }
            SrtpProfile::Aes128CmSha1_80 => SrtpCipher::AesCounter(
                crypto.new_stream_cipher(StreamCipherAlgorithm::Aes128Ctr, &session_key)?,
                crypto.new_hmac(HmacAlgorithm::Sha1, &mac_key)?,
            ),
        };
        Ok(Self { cipher, salt: session_salt })
    }

    /// Encrypts `body` and fills `tag`. `aad` are two pieces that are authenticated as well: the header, and
    /// the rollover counter or the SRTCP index word.
    pub(super) fn encrypt(
        &mut self,
        ssrc: [u8; 4],
        index: u64,
        aad: &[&[u8]; 2],
        body: &mut [u8],
        tag: &mut [u8],
    ) -> Option<()> {
        match &mut self.cipher {
            SrtpCipher::AesGcm(aead) => {
                let mut buffer = [0; 12];
                let data = gcm_data(aad, &mut buffer);
                aead.seal_in_place(&gcm_iv(&self.salt, ssrc, index), data, body, tag).ok()
            }
            SrtpCipher::AesCounter(stream, mac) => {
                stream.apply_keystream(&counter_iv(&self.salt, ssrc, index), body).ok()?;
                let mut full_tag = [0; SHA1_BYTES];
                mac.sign(&[aad[0], body, aad[1]], &mut full_tag).ok()?;
                tag.copy_from_slice(full_tag.get(..tag.len())?);
                Some(())
            }
        }
    }

    /// Verifies `tag`, then decrypts `body`.
    pub(super) fn decrypt(
        &mut self,
        ssrc: [u8; 4],
        index: u64,
        aad: &[&[u8]; 2],
        body: &mut [u8],
        tag: &[u8],
    ) -> Option<()> {
        match &mut self.cipher {
            SrtpCipher::AesGcm(aead) => {
                let mut buffer = [0; 12];
                let data = gcm_data(aad, &mut buffer);
                aead.open_in_place(&gcm_iv(&self.salt, ssrc, index), data, body, tag).ok()
            }
            SrtpCipher::AesCounter(stream, mac) => {
                let mut full_tag = [0; SHA1_BYTES];
                mac.sign(&[aad[0], body, aad[1]], &mut full_tag).ok()?;
                if !constant_time_eq(full_tag.get(..tag.len())?, tag) {
                    return None;
                }
                stream.apply_keystream(&counter_iv(&self.salt, ssrc, index), body).ok()
            }
        }
    }
}

/// The key derivation function of RFC 3711 §4.3.1 (AES-CM).
fn derive_key(
    crypto: &dyn RTCCrypto,
    key: &[u8],
    salt: &[u8],
    label: u8,
    out: &mut [u8],
) -> Result<(), CryptoError> {
    for (counter, chunk) in (0u16..).zip(out.chunks_mut(16)) {
        let mut block = [0; 16];
        block[..salt.len()].copy_from_slice(salt);
        block[7] ^= label;
        block[14..].copy_from_slice(&counter.to_be_bytes());
        crypto.block_encrypt(BlockCipherAlgorithm::Aes128, key, &mut block)?;
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
    Ok(())
}

/// The data that GCM authenticates: for RTP the header alone, since the nonce contains the rollover counter
/// (RFC 7714 §9.2), and for RTCP the header with the index word (§9.3).
fn gcm_data<'a>(aad: &[&'a [u8]; 2], buffer: &'a mut [u8; 12]) -> &'a [u8] {
    if aad[0].len() != 8 {
        return aad[0]; // an RTP header has at least 12 bytes
    }
    buffer[..8].copy_from_slice(aad[0]);
    buffer[8..].copy_from_slice(aad[1]);
    buffer
}

/// RTP: 00 | SSRC | rollover | sequence; RTCP: 00 | SSRC | 0000 | index. Both are a 48-bit index.
fn gcm_iv(salt: &[u8; MASTER_SALT_BYTES], ssrc: [u8; 4], index: u64) -> [u8; 12] {
    let mut iv = [0; 12];
    iv[2..6].copy_from_slice(&ssrc);
    iv[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    iv.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    iv
}

/// The counter block of AES-CM (RFC 3711 §4.1.1).
fn counter_iv(salt: &[u8; MASTER_SALT_BYTES], ssrc: [u8; 4], index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[4..8].copy_from_slice(&ssrc);
    iv[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
    iv.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    iv
}
