//! Sound and video: what is known of them, and that nothing they say does harm.

use serde_json::{Value, json};

use crate::files::{attaches, id, shows};
use crate::support::{Backend, World, on_both_databases};

on_both_databases! {
    audio_and_video_duration_is_detected,
    browser_recording_duration_is_detected,
}

const TURNED: &[u8] = include_bytes!("samples/turned.mp4");

async fn audio_and_video_duration_is_detected(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    for (name, bytes, kind, pixels) in [
        ("turned.mp4", TURNED, "video/mp4", Some((48, 64))), // 64 by 48, held upright
        ("film.webm", include_bytes!("samples/film.webm"), "video/webm", Some((64, 48))),
        ("voice.m4a", include_bytes!("samples/voice.m4a"), "audio/m4a", None),
        ("voice.ogg", include_bytes!("samples/voice.ogg"), "audio/ogg", None),
        ("song.mp3", include_bytes!("samples/song.mp3"), "audio/mpeg", None),
    ] {
        let made = attaches(&alice, name, "x/y", bytes).await.created();
        let said = shows(&alice, &conversation, name, &[&id(&made)]).await.created();
        let heard = &bob.reads(&conversation).await.pop().expect("a message")["attachments"][0];

        assert_eq!(made["content_type"], kind);
        let lasts = made["duration_ms"].as_i64().expect("a time");
        assert!((1500..1640).contains(&lasts), "{name}: {lasts}"); // some begin with silence
        let (width, height) =
            pixels.map_or((Value::Null, Value::Null), |(w, h)| (json!(w), json!(h)));
        assert_eq!((&made["width"], &made["height"]), (&width, &height), "{name}");
        assert_eq!(made["thumbnail"], false);
        assert_eq!(said["attachments"][0], *heard);
        for field in ["duration_ms", "width", "height"] {
            assert_eq!(heard[field], made[field], "{name}");
        }
    }
}

/// As browsers record it: the beginning does not know when the end will be.
async fn browser_recording_duration_is_detected(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    let (sound, film) = (include_bytes!("samples/recorded.webm"), Some((320, 240)));
    for (kind, bytes, pixels) in [
        ("audio/webm", &sound[..], None),
        ("video/webm", include_bytes!("samples/recorded-video.webm"), film),
        ("audio/mp4", include_bytes!("samples/recorded.m4a"), None),
        ("video/mp4", include_bytes!("samples/recorded-vp9.mp4"), film),
    ] {
        let made = attaches(&alice, "recorded", "x/y", bytes).await.created();
        let lasts = made["duration_ms"].as_i64().unwrap_or_default();
        assert!((1200..1700).contains(&lasts), "{kind}: {made}");
        assert_eq!(made["content_type"], kind);
        let (width, height) =
            pixels.map_or((Value::Null, Value::Null), |(w, h)| (json!(w), json!(h)));
        assert_eq!((&made["width"], &made["height"]), (&width, &height), "{kind}");
    }
}

/// A wave of so many channels that each of its samples would fill a room.
fn boast() -> Vec<u8> {
    let mut wave = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\xff\xff".to_vec();
    wave.extend(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x10\0data\xff\xff\xff\xff");
    wave
}

#[actix_web::test]
async fn unparsable_media_is_stored_without_metadata() {
    let world = World::new(Backend::Sqlite).await;
    let alice = world.person("Alice").await;
    let film = TURNED;
    let moov = film.windows(4).position(|window| window == b"moov").expect("its tables");
    let mut endless = film.to_vec();
    endless[moov - 4..moov].fill(0xff);
    let stts = film.windows(4).position(|window| window == b"stts").expect("its times");
    let mut many = film.to_vec();
    many[stts + 8..stts + 12].fill(0xff);

    // A fragment of 4,278,190,085 samples, none of which says how large it is.
    let mut recorded = include_bytes!("samples/recorded.m4a").to_vec();
    let last = recorded.windows(4).rposition(|window| window == b"trun").expect("a fragment");
    recorded[last + 6..last + 9].copy_from_slice(&[0, 0xff, 0xff]);

    for (name, bytes) in [
        ("samples", recorded),
        ("cut", film[..moov + 40].to_vec()),
        ("endless", endless),
        ("many", many),
        ("boast", boast()),
        ("head", film[..32].to_vec()),
    ] {
        let made = attaches(&alice, name, "x/y", &bytes).await.created();
        assert_eq!((&made["duration_ms"], &made["width"]), (&Value::Null, &Value::Null), "{name}");
        let kept = alice.fetches(&format!("/api/attachments/{}", id(&made))).await;
        assert!(kept == (200, bytes), "{name}");
    }
}
