//! Engine.IO session ids: the name of an engine, which the tree and the log show, and the proof that
//! one was told it by the handshake.

use std::sync::LazyLock;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base::random::RandomSource;

/// Engines do not outlive the process, and neither does what proves them.
static KEY: LazyLock<hmac::Key> =
    LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, &RandomSource::system().bytes::<32>()));

/// The session id of the engine `name`: a credential.
pub(super) fn issue(name: &str) -> String {
    format!("{name}.{}", proof(name))
}

/// The name in a session id that was issued here; says nothing of whether its engine still lives.
pub(super) fn name(sid: &str) -> Option<&str> {
    let (name, claimed) = sid.split_once('.')?;
    let sound = verify_slices_are_equal(proof(name).as_bytes(), claimed.as_bytes()).is_ok();
    sound.then_some(name)
}

fn proof(name: &str) -> String {
    use std::fmt::Write as _;
    let tag = hmac::sign(&KEY, name.as_bytes());
    tag.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_issued_polling_sid_is_accepted() {
        let sid = issue("blue");
        let (_, proof) = sid.split_once('.').unwrap_or_default();

        assert_eq!(name(&sid), Some("blue"));
        let short = &sid[..sid.len() - 1];
        let wrong = [String::new(), ".".into(), "blue".into(), "blue.".into(), short.into()];
        for wrong in wrong.into_iter().chain([format!("red.{proof}"), format!("{sid}0")]) {
            assert_eq!(name(&wrong), None, "{wrong}");
        }
    }
}
