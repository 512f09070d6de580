//! How tokens are stored.

use aws_lc_rs::digest;

/// SHA-256 of a token, as stored. Tokens have 256 random bits, so they need no salt.
pub(crate) fn hash_token(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    out
}
