//! Session keys and the two ciphers of SRTP, on the primitives of `rtc-crypto`.

use rtc_crypto::{
    AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CryptoError, HmacAlgorithm, Mac, RTCCrypto,
    StreamCipher, StreamCipherAlgorithm, constant_time_eq,
};

use super::{MASTER_KEY_LEN, SrtpProfile};

const MASTER_SALT_LEN: usize = 14;
const SHA1: usize = 20;

enum SrtpCipher {
    Gcm(Box<dyn AeadCipher>),
    Counter(Box<dyn StreamCipher>, Box<dyn Mac>),
}

/// A cipher with its key and salt, for RTP or for RTCP.
pub(super) struct CipherContext {
    cipher: SrtpCipher,
    salt: [u8; MASTER_SALT_LEN],
}

impl CipherContext {
    /// Session keys of the three labels that begin at `label` (RFC 3711 §4.3.2).
    pub(super) fn derive(
        profile: SrtpProfile,
        key: &[u8],
        salt: &[u8],
        label: u8,
        crypto: &dyn RTCCrypto,
    ) -> Result<Self, CryptoError> {
        let (mut session, mut mac, mut session_salt) =
            ([0; MASTER_KEY_LEN], [0; SHA1], [0; MASTER_SALT_LEN]);
        derive(crypto, key, salt, label, &mut session)?;
        derive(crypto, key, salt, label + 1, &mut mac)?;
        derive(crypto, key, salt, label + 2, &mut session_salt[..profile.salt()])?;
        let cipher = match profile {
            SrtpProfile::AeadAes128Gcm => {
                SrtpCipher::Gcm(crypto.new_aead(AeadAlgorithm::Aes128Gcm, &session)?)
            }
            SrtpProfile::Aes128CmSha1_80 => SrtpCipher::Counter(
                crypto.new_stream_cipher(StreamCipherAlgorithm::Aes128Ctr, &session)?,
                crypto.new_hmac(HmacAlgorithm::Sha1, &mac)?,
            ),
        };
        Ok(Self { cipher, salt: session_salt })
    }

    /// Encrypts `body` and fills `tag`. `with` are the two pieces that are authenticated too: the
    /// header, and the rollover counter or the word of SRTCP.
    pub(super) fn seal(
        &mut self,
        ssrc: [u8; 4],
        index: u64,
        with: &[&[u8]; 2],
        body: &mut [u8],
        tag: &mut [u8],
    ) -> Option<()> {
        match &mut self.cipher {
            SrtpCipher::Gcm(aead) => {
                let mut joined = [0; 12];
                let data = gcm_data(with, &mut joined);
                aead.seal_in_place(&gcm_iv(&self.salt, ssrc, index), data, body, tag).ok()
            }
            SrtpCipher::Counter(stream, mac) => {
                stream.apply_keystream(&counter_iv(&self.salt, ssrc, index), body).ok()?;
                let mut whole = [0; SHA1];
                mac.sign(&[with[0], body, with[1]], &mut whole).ok()?;
                tag.copy_from_slice(whole.get(..tag.len())?);
                Some(())
            }
        }
    }

    /// Verifies `tag`, then decrypts `body`.
    pub(super) fn open(
        &mut self,
        ssrc: [u8; 4],
        index: u64,
        with: &[&[u8]; 2],
        body: &mut [u8],
        tag: &[u8],
    ) -> Option<()> {
        match &mut self.cipher {
            SrtpCipher::Gcm(aead) => {
                let mut joined = [0; 12];
                let data = gcm_data(with, &mut joined);
                aead.open_in_place(&gcm_iv(&self.salt, ssrc, index), data, body, tag).ok()
            }
            SrtpCipher::Counter(stream, mac) => {
                let mut whole = [0; SHA1];
                mac.sign(&[with[0], body, with[1]], &mut whole).ok()?;
                if !constant_time_eq(whole.get(..tag.len())?, tag) {
                    return None;
                }
                stream.apply_keystream(&counter_iv(&self.salt, ssrc, index), body).ok()
            }
        }
    }
}

fn derive(
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

/// GCM authenticates the RTP header alone, since the nonce holds the rollover counter (RFC 7714 §9.2),
/// and for RTCP the header with the index behind it (§9.3).
fn gcm_data<'a>(with: &[&'a [u8]; 2], joined: &'a mut [u8; 12]) -> &'a [u8] {
    if with[0].len() != 8 {
        return with[0]; // an RTP header has 12 bytes at least
    }
    joined[..8].copy_from_slice(with[0]);
    joined[8..].copy_from_slice(with[1]);
    joined
}

/// RTP: 00 | SSRC | rollover | sequence; RTCP: 00 | SSRC | 0000 | index. Both are a 48-bit index.
fn gcm_iv(salt: &[u8; MASTER_SALT_LEN], ssrc: [u8; 4], index: u64) -> [u8; 12] {
    let mut iv = [0; 12];
    iv[2..6].copy_from_slice(&ssrc);
    iv[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    iv.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    iv
}

fn counter_iv(salt: &[u8; MASTER_SALT_LEN], ssrc: [u8; 4], index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[4..8].copy_from_slice(&ssrc);
    iv[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
    iv.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    iv
}
