//! Resumable uploads: tus 1.0, piece by piece, over restarts, against the odds.

use std::time::Duration;

use awc::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::files::{objects, on_the_desk};
use crate::support::{Answer, Backend, Person, SOON, World, on_both_databases, soon};

on_both_databases! {
    upload_resumes_at_offset_after_sigkill,
    upload_is_accessible_only_to_its_owner,
    ended_and_stray_uploads_leave_no_staging_files,
}

/// A request as tus has it.
async fn tus(
    person: &Person,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Vec<u8>>,
) -> Answer {
    let bearer = format!("Bearer {}", person.access);
    let mut all = vec![("authorization", bearer.as_str()), ("tus-resumable", "1.0.0")];
    all.extend(headers);
    person.sends(method, path, &all, body).await
}

async fn begins(person: &Person, size: usize) -> String {
    let size = size.to_string();
    let name = format!("filename {}", STANDARD.encode("big.bin"));
    let headers = [("upload-length", size.as_str()), ("upload-metadata", &name)];
    let answer = tus(person, Method::POST, "/api/uploads/", &headers, None).await;
    let place = answer.header("location").expect("a place").to_owned();
    answer.created();
    place
}

pub async fn appends(person: &Person, place: &str, offset: usize, piece: &[u8]) -> Answer {
    with(person, place, offset, piece, &[]).await
}

async fn with(
    person: &Person,
    place: &str,
    offset: usize,
    piece: &[u8],
    further: &[(&str, &str)],
) -> Answer {
    let offset = offset.to_string();
    let mut headers = vec![
        ("upload-offset", offset.as_str()),
        ("content-type", "application/offset+octet-stream"),
    ];
    headers.extend(further);
    tus(person, Method::PATCH, place, &headers, Some(piece.to_vec())).await
}

/// An upload of which only the beginning is sent.
pub async fn begins_an_upload(person: &Person, piece: &[u8]) -> String {
    let place = begins(person, piece.len() + 1).await;
    appends(person, &place, 0, piece).await.done();
    place
}

async fn offset(person: &Person, place: &str) -> usize {
    let answer = tus(person, Method::HEAD, place, &[], None).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.header("upload-offset").expect("an offset").parse().expect("a number")
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 253) as u8).collect()
}

async fn upload_resumes_at_offset_after_sigkill(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    let all = bytes(3_000_000);
    let place = begins(&alice, all.len()).await;
    let (mut at, mut kills) = (0, 0);
    while at < all.len() {
        let alice = alice.anew();
        at = offset(&alice, &place).await;
        let end = (at + 700_000).min(all.len());
        let piece = appends(&alice, &place, at, &all[at..end]);
        let patience = if kills < 4 { Duration::from_millis(3 * kills) } else { SOON };
        kills += 1;
        if let Ok(answer) = tokio::time::timeout(patience, piece).await {
            answer.done();
            at = end;
        }
        if at < all.len() {
            world.kill();
            world.start();
        }
    }

    let alice = alice.anew();
    let upload = alice.get(&place).await.ok();
    let file = upload["attachment_id"].as_str().expect("it is whole");
    assert!(alice.fetches(&format!("/api/attachments/{file}")).await == (200, all));
    assert_eq!((objects(&world), on_the_desk(&world)), (1, 0));
}

#[actix_web::test]
async fn tus_append_validates_offset_size_checksum_and_headers() {
    let world = World::with(Backend::Sqlite, &[("FILES__MAX_BYTES", "1000000")]).await;
    let alice = world.person("Alice").await;
    let place = begins(&alice, 1000).await;
    appends(&alice, &place, 0, &bytes(400)).await.done();

    appends(&alice, &place, 0, &bytes(10)).await.refused(409, "uploads/offset-mismatch");
    appends(&alice, &place, 401, &bytes(10)).await.refused(409, "uploads/offset-mismatch");
    appends(&alice, &place, 400, &bytes(601)).await.refused(413, "files/too-large");
    assert_eq!(offset(&alice, &place).await, 400);
    let wrong = format!("sha256 {}", STANDARD.encode([0; 32]));
    let answer = with(&alice, &place, 400, &bytes(10), &[("upload-checksum", &wrong)]).await;
    assert_eq!(answer.header("tus-resumable"), Some("1.0.0"));
    answer.refused(460, "uploads/checksum-mismatch");
    assert_eq!(offset(&alice, &place).await, 400);
    let sum = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="; // of "hello"
    let answer = with(&alice, &place, 400, b"hello", &[("upload-checksum", sum)]).await;
    let begun = tus(&alice, Method::HEAD, &place, &[], None).await;
    assert!(answer.header("upload-expires").is_some());
    assert_eq!(answer.header("upload-expires"), begun.header("upload-expires"));
    answer.done();
    assert_eq!(offset(&alice, &place).await, 405);

    let no_version = [("authorization", format!("Bearer {}", alice.access))];
    let headers = [("authorization", no_version[0].1.as_str()), ("upload-length", "5")];
    let answer = alice.sends(Method::POST, "/api/uploads/", &headers, None).await;
    assert_eq!(answer.header("tus-resumable"), Some("1.0.0"));
    assert_eq!(answer.header("tus-version"), Some("1.0.0"));
    answer.refused(412, "uploads/unsupported-version");
    for (length, status, code) in [
        ("x", 400, "uploads/invalid-header"),
        ("-1", 400, "uploads/invalid-header"),
        ("0", 422, "files/empty"),
        ("1000001", 413, "files/too-large"),
    ] {
        let headers = [("upload-length", length)];
        let answer = tus(&alice, Method::POST, "/api/uploads/", &headers, None).await;
        answer.refused(status, code);
    }
    for metadata in ["filename !!", "purpose YnVpbGQ="] {
        let headers = [("upload-length", "5"), ("upload-metadata", metadata)];
        let answer = tus(&alice, Method::POST, "/api/uploads/", &headers, None).await;
        answer.refused(422, "uploads/invalid-upload");
    }
    let can = alice.sends(Method::OPTIONS, "/api/uploads/", &[], None).await;
    assert_eq!(can.header("tus-extension"), Some("creation,expiration,checksum,termination"));
    assert_eq!(can.header("tus-max-size"), Some("1000000"));
}

#[actix_web::test]
async fn concurrent_appends_at_same_offset_have_one_winner() {
    let world = World::new(Backend::Sqlite).await;
    let alice = world.person("Alice").await;
    for _ in 0..10 {
        let place = begins(&alice, 2_000_000).await;
        let (one, two) = (alice.anew(), alice.anew());
        // Another byte at each place.
        let pieces = [bytes(1_000_000), bytes(1_000_001)[1..].to_vec()];
        let both = futures_util::future::join(
            appends(&one, &place, 0, &pieces[0]),
            appends(&two, &place, 0, &pieces[1]),
        );
        let (one, two) = both.await;
        let won = [one.status == 204, two.status == 204];
        assert_ne!(won, [true, true]);
        for answer in [one, two].into_iter().filter(|answer| answer.status != 204) {
            let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
            assert!(
                [
                    "uploads/offset-mismatch",
                    "uploads/superseded",
                    "files/too-large",
                    "uploads/locked-by-other-node"
                ]
                .contains(&code.as_str()),
                "{}",
                answer.text
            );
        }
        let at = offset(&alice, &place).await;
        let all = bytes(2_000_000);
        appends(&alice, &place, at, &all[at..]).await.done();
        let upload = alice.get(&place).await.ok();
        assert_eq!(upload["offset"], json!(2_000_000), "{upload}");
        let file = upload["attachment_id"].as_str().expect("it is whole");
        let kept = alice.fetches(&format!("/api/attachments/{file}")).await.1;
        // Of two who race, all that is kept is of one, and of the one who was told so.
        let of = |piece: &Vec<u8>| kept[..at] == piece[..at];
        for (piece, won) in pieces.iter().zip(won) {
            assert!(!won || (at == piece.len() && of(piece)));
        }
        assert!(pieces.iter().any(of));
        assert!(kept[at..] == all[at..]);
    }
}

#[actix_web::test]
async fn upload_resumes_after_disk_full_is_cleared() {
    let world = World::new(Backend::Sqlite).await;
    let alice = world.person("Alice").await;
    let place = begins(&alice, 1000).await;
    let desk = world.dir.path().join("uploads");
    std::fs::create_dir_all(&desk).unwrap();
    let lies = desk.join(place.rsplit('/').next().unwrap());
    std::os::unix::fs::symlink("/dev/full", &lies).unwrap();
    appends(&alice, &place, 0, &bytes(1000)).await.refused(503, "files/storage-unavailable");

    std::fs::remove_file(&lies).unwrap();
    soon("it is opened again", async {
        loop {
            let answer = appends(&alice, &place, 0, &bytes(1000)).await;
            if answer.status == 204 {
                break;
            }
            answer.refused(503, "uploads/locked-by-other-node"); // the one before is just ending
        }
    })
    .await;
    let upload = alice.get(&place).await.ok();
    let file = upload["attachment_id"].as_str().expect("it is whole");
    assert!(alice.fetches(&format!("/api/attachments/{file}")).await == (200, bytes(1000)));
}

async fn upload_is_accessible_only_to_its_owner(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, eve) = (world.person("Alice").await, world.person("Eve").await);
    let place = begins(&alice, 1000).await;
    appends(&alice, &place, 0, &bytes(10)).await.done();

    for path in [place.as_str(), &format!("/api/uploads/upl_{}", "0".repeat(32))] {
        eve.get(path).await.refused(404, "uploads/upload-not-found");
        appends(&eve, path, 10, &bytes(10)).await.refused(404, "uploads/upload-not-found");
        let answer = tus(&eve, Method::DELETE, path, &[], None).await;
        answer.refused(404, "uploads/upload-not-found");
    }
    assert_eq!(offset(&alice, &place).await, 10);
}

async fn ended_and_stray_uploads_leave_no_staging_files(backend: Backend) {
    let world = World::with(backend, &[("FILES__MAX_RESUMABLE_UPLOADS_PER_USER", "2")]).await;
    let alice = world.person("Alice").await;
    let (one, two) = (begins(&alice, 1000).await, begins(&alice, 1000).await);
    let third = tus(&alice, Method::POST, "/api/uploads/", &[("upload-length", "5")], None).await;
    third.refused(429, "uploads/upload-limit-reached");
    appends(&alice, &one, 0, &bytes(500)).await.done();
    appends(&alice, &two, 0, &bytes(500)).await.done();
    assert_eq!(on_the_desk(&world), 2);

    tus(&alice, Method::DELETE, &one, &[], None).await.done();
    assert_eq!(on_the_desk(&world), 1);
    alice.get(&one).await.refused(404, "uploads/upload-not-found");
    // Whatever belongs to no upload goes when the server starts.
    let desk = world.dir.path().join("uploads");
    std::fs::write(desk.join(format!("upl_{}", "0".repeat(32))), "stray").unwrap();
    std::fs::write(desk.join("x.part"), "stray").unwrap();
    world.kill();
    world.start();
    soon("strays go", async {
        while on_the_desk(&world) > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let alice = alice.anew();
    assert_eq!(offset(&alice, &two).await, 500);
    let proof = json!({ "password": crate::support::person::PASSWORD });
    alice.deletes("/api/me", proof).await.done();
    soon("what she began goes with her", async {
        while on_the_desk(&world) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
