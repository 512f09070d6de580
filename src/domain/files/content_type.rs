//! Content type detection from bytes, regardless of what the sender claims, and display names.

use crate::limits::MAX_FILE_NAME_CHARS;
/// Number of bytes at the start of a file that are inspected.
pub(super) const HEAD_BYTES: usize = 8 * 1024;

/// Image formats whose metadata is removed and that get a thumbnail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImageFormat {
    Jpeg,
    Png,
    Gif,
    WebP,
}

impl ImageFormat {
    /// Image format of a `Content-Type` value.
    pub(super) fn of(content_type: &str) -> Option<Self> {
        match content_type {
            "image/jpeg" => Some(Self::Jpeg),
            "image/png" => Some(Self::Png),
            "image/gif" => Some(Self::Gif),
            "image/webp" => Some(Self::WebP),
            _ => None,
        }
    }
}

/// Content type of a file that starts with `head`.
pub(super) fn content_type(head: &[u8]) -> &'static str {
    let detected = infer::get(head).map(|kind| match kind.mime_type() {
        "audio/opus" => "audio/ogg", // the type names the container (RFC 7845 §9)
        kind => kind,
    });
    if let Some(kind) = detected.filter(|kind| !kind.starts_with("text/")) {
        return kind;
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // `head` may end in the middle of a character.
        Err(error) if error.error_len().is_none() && head.len() == HEAD_BYTES => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return "application/octet-stream",
    };
    if text.contains('\0') {
        return "application/octet-stream";
    }
    let lower = text.to_ascii_lowercase();
    if lower.contains("<svg") {
        "image/svg+xml"
    } else if ["<html", "<!doctype html", "<script", "<body"].iter().any(|tag| lower.contains(tag))
    {
        "text/html"
    } else {
        detected.unwrap_or("text/plain")
    }
}

/// Audio type of a video container without a video track, as browsers record speech.
pub(super) fn as_audio_type(content_type: &'static str) -> &'static str {
    match content_type {
        "video/webm" => "audio/webm",
        "video/mp4" => "audio/mp4",
        other => other,
    }
}

/// Whether browsers may display it inline; all other types are only downloaded.
pub fn is_displayable(content_type: &str) -> bool {
    ImageFormat::of(content_type).is_some()
        || matches!(
            content_type,
            "video/mp4"
                | "video/webm"
                | "audio/mp4"
                | "audio/webm"
                | "audio/mpeg"
                | "audio/ogg"
                | "audio/m4a"
                | "audio/x-wav"
        )
}

/// Display name of a file: without path, control characters and bidirectional overrides. Never used
/// as a file name.
pub(super) fn display_name(name: &str) -> String {
    let base_name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_bidi_control = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let name: String = base_name
        .chars()
        .filter(|c| !c.is_control() && !is_bidi_control(*c))
        .take(MAX_FILE_NAME_CHARS)
        .collect();
    let name = name.trim();
    if name.trim_matches('.').is_empty() { "file".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_name_strips_path_and_control_characters() {
        assert_eq!(display_name("../../etc/passwd"), "passwd");
        assert_eq!(display_name("C:\\temp\\a.txt"), "a.txt");
        assert_eq!(display_name(".."), "file");
        assert_eq!(display_name("a\u{202e}gpj.exe\r\n"), "agpj.exe");
        assert_eq!(display_name(&"ä".repeat(500)).chars().count(), MAX_FILE_NAME_CHARS);
    }

    #[test]
    fn content_type_is_detected_from_bytes() {
        assert_eq!(content_type(b"\x89PNG\r\n\x1a\n0000"), "image/png");
        assert_eq!(content_type(b"<?xml version='1.0'?><SVG onload='x'>"), "image/svg+xml");
        assert_eq!(content_type(b"hello <script>alert(1)</script>"), "text/html");
        assert_eq!(content_type("grüße".as_bytes()), "text/plain");
        let voice = include_bytes!("../../../tests/it/samples/voice.ogg");
        assert!(is_displayable(content_type(voice)));
        assert_eq!(content_type(b"\x00\x01\x02"), "application/octet-stream");
        assert!(!is_displayable("image/svg+xml") && !is_displayable("text/html"));
    }
}
