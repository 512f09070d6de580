//! Engine.IO session ids. They consist of the session's name, which appears in logs, and a MAC that
//! proves that this node issued it.

use std::sync::LazyLock;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base::random::RandomSource;

/// Random per process: sessions do not outlive it.
static KEY: LazyLock<hmac::Key> =
    LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, &RandomSource::system().bytes::<32>()));

/// Session id (a credential) for the session `name`.
pub(super) fn issue(name: &str) -> String {
    format!("{name}.{}", mac(name))
}

/// Name in a session id issued by this process; the session may have ended.
pub(super) fn name(sid: &str) -> Option<&str> {
    let (name, claimed_mac) = sid.split_once('.')?;
    let valid = verify_slices_are_equal(mac(name).as_bytes(), claimed_mac.as_bytes()).is_ok();
    valid.then_some(name)
}

fn mac(name: &str) -> String {
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
        let (_, mac) = sid.split_once('.').unwrap_or_default();

        assert_eq!(name(&sid), Some("blue"));
        let short = &sid[..sid.len() - 1];
        let wrong = [String::new(), ".".into(), "blue".into(), "blue.".into(), short.into()];
        for wrong in wrong.into_iter().chain([format!("red.{mac}"), format!("{sid}0")]) {
            assert_eq!(name(&wrong), None, "{wrong}");
        }
    }
}
