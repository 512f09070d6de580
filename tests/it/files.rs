//! Files in conversations: what is taken in, what becomes of it, and who gets a byte.

use std::io::Cursor;
use std::time::Duration;

use awc::http::Method;
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

use crate::support::{Answer, Backend, Person, SOON, World, on_both_databases, soon};

on_both_databases! {
    attachment_is_visible_only_to_conversation_members,
    unreferenced_blob_is_deleted,
    concurrent_uploads_do_not_exceed_quota,
}

/// A form with one file in it.
pub fn form(name: &str, kind: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    let mut body = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: {kind}\r\n\r\n"
    )
    .into_bytes();
    body.extend(bytes);
    body.extend(b"\r\n--edge--\r\n");
    ("multipart/form-data; boundary=edge".to_owned(), body)
}

/// Sends a file; what it says of itself is given.
pub async fn attaches(person: &Person, name: &str, kind: &str, bytes: &[u8]) -> Answer {
    let (content_type, body) = form(name, kind, bytes);
    let bearer = format!("Bearer {}", person.access);
    let headers = [("authorization", bearer.as_str()), ("content-type", content_type.as_str())];
    person.sends(Method::POST, "/api/attachments", &headers, Some(body)).await
}

/// Asks for a file with further headers.
async fn asks(person: &Person, id: &str, headers: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {}", person.access);
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend(headers);
    person.sends(Method::GET, &format!("/api/attachments/{id}"), &all, None).await
}

pub fn id(made: &Value) -> String {
    made["id"].as_str().expect("an id").to_owned()
}

/// Says something that carries files.
pub async fn shows(person: &Person, conversation: &str, client_id: &str, files: &[&str]) -> Answer {
    let path = format!("/api/conversations/{conversation}/messages");
    person.post(&path, json!({ "client_id": client_id, "body": "", "attachments": files })).await
}

pub fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 99]));
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// How many objects there are on disk.
pub fn objects(world: &World) -> usize {
    let folders = std::fs::read_dir(world.dir.path().join("blobs"));
    let count = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_dir(entry.unwrap().path()).unwrap().count()
    };
    folders.map_or(0, |folders| folders.map(count).sum())
}

/// What lies on the desk of files under way.
pub fn on_the_desk(world: &World) -> usize {
    std::fs::read_dir(world.dir.path().join("uploads")).map_or(0, Iterator::count)
}

async fn attachment_is_visible_only_to_conversation_members(backend: Backend) {
    let world = World::new(backend).await;
    let admin = world.admin().await;
    let (alice, bob, conversation) = world.two_friends().await;
    let (eve, dan) = (world.person("Eve").await, world.person("Dan").await);
    let group = world.group(&[&alice, &bob, &dan]).await;
    let jpeg = picture(1000, 500, ImageFormat::Jpeg);
    let made = attaches(&alice, "../../sunset.jpg", "image/jpeg", &jpeg).await.created();
    assert_eq!(made["name"], "sunset.jpg");
    assert_eq!((&made["width"], &made["height"]), (&json!(1000), &json!(500)));
    let file = id(&made);
    let mut bobs = bob.connects().await;

    // Before it is sent, its owner alone sees it; nobody else can send it.
    for other in [&bob, &eve, &admin] {
        asks(other, &file, &[]).await.refused(404, "files/file-not-found");
    }
    shows(&bob, &conversation, "steal", &[&file]).await.refused(404, "chat/attachment-not-found");
    let said = shows(&alice, &conversation, "1", &[&file]).await.created();
    let heard = bobs.hears("message").await;
    assert_eq!(
        said["attachments"],
        json!([{
            "id": file, "name": "sunset.jpg", "size": made["size"], "content_type": "image/jpeg",
            "width": 1000, "height": 500, "thumbnail": true,
        }])
    );
    assert_eq!(heard, said);
    assert_eq!(bob.reads(&conversation).await, std::slice::from_ref(&said));
    let again = shows(&alice, &conversation, "1", &[&file]).await;
    assert_eq!((again.status, &again.body), (200, &said));

    let path = format!("/api/attachments/{file}");
    let (status, bytes) = bob.fetches(&path).await;
    assert_eq!((status, bytes.len()), (200, made["size"].as_u64().unwrap() as usize));
    let (_, small) = bob.fetches(&format!("{path}/thumbnail")).await;
    let small = image::load_from_memory(&small).unwrap();
    assert_eq!((small.width(), small.height()), (400, 200));
    for nobody in [&eve, &dan, &admin] {
        asks(nobody, &file, &[]).await.refused(404, "files/file-not-found");
        let small = nobody.get(&format!("{path}/thumbnail")).await;
        small.refused(404, "files/file-not-found");
    }
    let guess = format!("att_{}", "0".repeat(32));
    asks(&bob, &guess, &[]).await.refused(404, "files/file-not-found");
    world.stranger().get(&path).await.refused(401, "auth/unauthenticated");

    // Whoever may see a file may send it on; it costs no second object.
    let count = |world: &World| objects(world);
    let before = count(&world);
    shows(&bob, &group, "on", &[&file]).await.created();
    asks(&dan, &file, &[("range", "bytes=0-0")]).await.status(206);
    assert_eq!(count(&world), before);

    // Whoever leaves, is suspended, or joins later sees what history shows them: nothing.
    dan.delete(&format!("/api/conversations/{group}/members/{}", dan.id)).await.done();
    asks(&dan, &file, &[]).await.refused(404, "files/file-not-found");
    let put = format!("/api/conversations/{group}/members/{}", eve.id);
    alice.put(&put, json!({})).await.ok();
    asks(&eve, &file, &[]).await.refused(404, "files/file-not-found");
    eve.put(&format!("/api/contacts/{}/block", alice.id), json!(null)).await.done();
    asks(&eve, &file, &[]).await.refused(404, "files/file-not-found");
    admin.put(&format!("/api/admin/users/{}/suspension", bob.id), json!(null)).await.done();
    asks(&bob, &file, &[]).await.refused(401, "auth/invalid-token");
}

#[actix_web::test]
async fn file_ranges_are_served_per_rfc_9110() {
    let world = World::new(Backend::Sqlite).await;
    let alice = world.person("Alice").await;
    let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let made = attaches(&alice, "a.bin", "application/x-odd", &bytes).await.created();
    let file = id(&made);
    let path = format!("/api/attachments/{file}");

    let whole = alice.fetches(&path).await;
    assert!(whole == (200, bytes.clone()));
    let bearer = format!("Bearer {}", alice.access);
    let headers = [("authorization", bearer.as_str()), ("range", "bytes=300000-699999")];
    let part = alice.sends(Method::GET, &path, &headers, None).await;
    assert_eq!(part.status, 206);
    assert_eq!(part.header("content-range"), Some("bytes 300000-699999/1000000"));
    assert_eq!(part.header("content-length"), Some("400000"));
    assert_eq!(part.text, String::from_utf8_lossy(&bytes[300_000..700_000]));
    let etag = format!("\"{}\"", made["sha256"].as_str().unwrap());
    assert_eq!(part.header("etag"), Some(etag.as_str()));
    let beyond = asks(&alice, &file, &[("range", "bytes=1000000-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */1000000")));
    assert_eq!(asks(&alice, &file, &[("range", "bytes=0-1,4-5")]).await.status, 416);
    let same = asks(&alice, &file, &[("if-none-match", &etag)]).await;
    assert_eq!((same.status, same.text.as_str()), (304, ""));
    let fresh = asks(&alice, &file, &[("range", "bytes=0-0"), ("if-range", &etag)]).await;
    assert_eq!(fresh.status, 206);
    let stale = asks(&alice, &file, &[("range", "bytes=0-0"), ("if-range", "\"other\"")]).await;
    assert_eq!(stale.status, 200);
    let head = alice.sends(Method::HEAD, &path, &headers[..1], None).await;
    assert_eq!((head.status, head.text.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("1000000"));
}

#[actix_web::test]
async fn file_type_is_sniffed_and_never_served_as_html() {
    let world = World::new(Backend::Sqlite).await;
    let alice = world.person("Alice").await;
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let html = b"<!DOCTYPE html><script>alert(1)</script>";
    let png = picture(10, 10, ImageFormat::Png);

    for (name, claim, bytes, kind, given) in [
        ("x.png", "image/png", &svg[..], "image/svg+xml", "application/octet-stream"),
        ("x.jpg", "image/jpeg", &html[..], "text/html", "application/octet-stream"),
        ("x.html", "text/html", &png[..], "image/png", "image/png"),
        ("x\".txt", "text/plain", b"hello", "text/plain", "text/plain; charset=utf-8"),
        (
            "x",
            "",
            &[&b"\x7fELF\x02\x01\x01"[..], &[0; 60]].concat(),
            "application/x-executable",
            "application/x-executable",
        ),
    ] {
        let made = attaches(&alice, &name.replace('"', "%22"), claim, bytes).await.created();
        assert_eq!(made["content_type"], kind, "{name}");
        let answer = asks(&alice, &id(&made), &[]).await;
        assert_eq!(answer.header("content-type"), Some(given), "{name}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; sandbox"));
        let how = answer.header("content-disposition").unwrap();
        assert_eq!(how.starts_with("inline"), kind == "image/png", "{name}: {how}");
    }
}

#[actix_web::test]
async fn oversized_upload_is_rejected_and_cleaned_up() {
    let limits = [("FILES__MAX_BYTES", "10485760"), ("FILES__USER_QUOTA_BYTES", "20971520")];
    let world = World::with(Backend::Sqlite, &limits).await;
    let alice = world.person("Alice").await;
    let mut bomb = picture(8, 8, ImageFormat::Png);
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let mut crc = 0xffff_ffffu32;
    for byte in &bomb[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    bomb[29..33].copy_from_slice(&(!crc).to_be_bytes());

    attaches(&alice, "b", "image/png", &bomb).await.refused(422, "files/image-too-large");
    let cut = &picture(800, 400, ImageFormat::Jpeg)[..2000];
    attaches(&alice, "c", "image/jpeg", cut).await.refused(422, "files/invalid-image");
    attaches(&alice, "e", "text/plain", b"").await.refused(422, "files/empty");
    let eleven = vec![7; 11 << 20];
    attaches(&alice, "l", "x/y", &eleven).await.refused(413, "files/too-large");
    let bearer = format!("Bearer {}", alice.access);
    let json = [("authorization", bearer.as_str())];
    let answer = alice.sends(Method::POST, "/api/attachments", &json, Some(b"{}".to_vec())).await;
    answer.refused(415, "files/not-multipart");
    let other = [json[0], ("content-type", "multipart/form-data; boundary=edge")];
    let no_file = b"--edge\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nx\r\n--edge--\r\n";
    let answer = alice.sends(Method::POST, "/api/attachments", &other, Some(no_file.to_vec()));
    answer.await.refused(422, "files/missing-file-part");
    let garbled = Some(b"--edge\r\nnonsense".to_vec());
    let answer = alice.sends(Method::POST, "/api/attachments", &other, garbled).await;
    answer.refused(422, "files/upload-aborted");

    assert_eq!((objects(&world), on_the_desk(&world)), (0, 0));
    let metrics = world.stranger().get("/metrics").await.text;
    assert!(
        metrics.contains("securevox_rejected_requests_total{reason=\"files/image-too-large\"} 1")
    );
}

#[actix_web::test]
async fn oversized_stream_is_rejected_without_memory_or_disk_use() {
    use std::io::{Read, Write};
    let world = World::with(Backend::Sqlite, &[("FILES__MAX_BYTES", "10485760")]).await;
    let alice = world.person("Alice").await;
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = memory();
    let (address, access) = (world.address(), alice.access.clone());
    // Without a length, so that only what comes can be counted.
    let sends = move || {
        let mut wire = std::net::TcpStream::connect(&address).unwrap();
        wire.set_read_timeout(Some(SOON)).unwrap();
        write!(
            wire,
            "POST /api/attachments HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {access}\r\n\
             content-type: multipart/form-data; boundary=edge\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        .unwrap();
        let head =
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"l\"\r\n\r\n";
        write!(wire, "{:x}\r\n{head}\r\n", head.len()).unwrap();
        let piece = vec![7u8; 1 << 20];
        let mut answer = [0; 12];
        for sent in 0..1024 {
            if sent == 64 {
                // It is refused long before it is whole, and whoever goes on sending gains nothing.
                wire.read_exact(&mut answer).unwrap();
            }
            let chunk = [b"100000\r\n", &piece[..], b"\r\n"].concat();
            if wire.write_all(&chunk).is_err() {
                break;
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = actix_web::web::block(sends).await.unwrap();

    let grown = memory() - before;
    assert_eq!(answer, "HTTP/1.1 413");
    assert!(grown < 24 * 1024, "{grown} KiB");
    assert_eq!((objects(&world), on_the_desk(&world)), (0, 0));
}

async fn unreferenced_blob_is_deleted(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let admin = world.admin().await;
    let jpeg = picture(600, 600, ImageFormat::Jpeg);
    let one = attaches(&alice, "1.jpg", "image/jpeg", &jpeg).await.created();
    let two = attaches(&bob, "2.jpg", "image/jpeg", &jpeg).await.created();
    assert_eq!(one["sha256"], two["sha256"]);
    assert_ne!(one["id"], two["id"]);
    assert_eq!(objects(&world), 2, "one picture, one small one");
    shows(&alice, &conversation, "1", &[&id(&one)]).await.created();
    let group = world.group(&[&alice, &bob]).await;
    shows(&bob, &group, "2", &[&id(&two)]).await.created();
    let hers = attaches(&alice, "hers.txt", "text/plain", b"only hers").await.created();
    shows(&alice, &conversation, "3", &[&id(&hers)]).await.created();
    assert_eq!(objects(&world), 3);

    // Alice goes, and with her their conversation; Bob's copy of the same bytes stays.
    let proof = json!({ "password": crate::support::person::PASSWORD });
    alice.deletes("/api/me", proof.clone()).await.done();
    crate::erasure::all_done(&admin).await;
    asks(&bob, &id(&one), &[]).await.refused(404, "files/file-not-found");
    asks(&bob, &id(&hers), &[]).await.refused(404, "files/file-not-found");
    asks(&bob, &id(&two), &[]).await.status(200);
    assert_eq!(objects(&world), 2, "what she alone brought went with her");
    let unsent = attaches(&bob, "3.txt", "text/plain", b"unsent").await.created();
    asks(&bob, &id(&unsent), &[]).await.status(200);
    assert_eq!(objects(&world), 3);
}

async fn concurrent_uploads_do_not_exceed_quota(backend: Backend) {
    let limits = [
        ("FILES__MAX_BYTES", "1000000"),
        ("FILES__USER_QUOTA_BYTES", "3500000"),
        ("FILES__MAX_CONCURRENT_UPLOADS", "128"),
    ];
    let world = World::with(backend, &limits).await;
    let alice = world.person("Alice").await;
    let sends = (0..10u8).map(|n| {
        let alice = alice.anew();
        async move { attaches(&alice, "f", "x/y", &vec![n; 1_000_000]).await }
    });
    let answers = futures_util::future::join_all(sends).await;

    let kept = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(kept, 3);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.refused(413, "files/quota-exceeded");
    }
    let upload = [("authorization", format!("Bearer {}", alice.access))];
    let headers = [
        ("authorization", upload[0].1.as_str()),
        ("tus-resumable", "1.0.0"),
        ("upload-length", "600000"),
    ];
    let answer = alice.sends(Method::POST, "/api/uploads/", &headers, None).await;
    answer.refused(413, "files/quota-exceeded");
    // What was refused at the last moment goes with the next round.
    world.kill();
    world.start();
    soon("what was refused goes", async {
        while objects(&world) != kept {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
