//! Where bytes are kept: a bucket behind the real protocol, and a disk under kill -9.

use std::time::Duration;

use actix_web::rt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::json;

use crate::files::{attaches, id, objects, on_the_desk, shows};
use crate::support::{Backend, World, on_both_databases, soon};

on_both_databases! {
    s3_blob_store_behaves_like_local_folder,
    sigkill_leaves_no_orphaned_blob_or_dangling_attachment,
}

/// A server that speaks S3 over a folder with one bucket; gives its address.
async fn bucket(folder: &std::path::Path) -> String {
    std::fs::create_dir_all(folder.join("files")).unwrap();
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(SimpleAuth::from_single("key", "secret"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    rt::spawn(async move {
        while let Ok((wire, _)) = listener.accept().await {
            let service = service.clone();
            rt::spawn(async move {
                let _ = Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(wire), service)
                    .await;
            });
        }
    });
    format!("http://{address}")
}

fn files_in(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_in(&path)) } else { found.push(path) }
    }
    found
}

async fn s3_blob_store_behaves_like_local_folder(backend: Backend) {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = bucket(folder.path()).await;
    let settings = [
        ("STORAGE__BACKEND", "s3"),
        ("STORAGE__BUCKET", "files"),
        ("STORAGE__ENDPOINT", endpoint.as_str()),
        ("STORAGE__ACCESS_KEY", "key"),
        ("STORAGE__SECRET_KEY", "secret"),
    ];
    let world = World::with(backend, &settings).await;
    let admin = world.admin().await;
    let (alice, bob, conversation) = world.two_friends().await;
    let in_bucket = || {
        let all = files_in(&folder.path().join("files"));
        all.into_iter().filter(|path| path.to_string_lossy().contains("blb_")).count()
    };
    let small = b"a small text".to_vec();
    let large: Vec<u8> = (0..20_000_000u32).map(|n| (n % 249) as u8).collect(); // in parts
    let mut made = Vec::new();
    for bytes in [&small, &large, &large] {
        made.push(id(&attaches(&alice, "f", "x/y", bytes).await.created()));
    }
    assert_eq!(in_bucket(), 2, "{:?}", files_in(folder.path()));
    assert_eq!((objects(&world), on_the_desk(&world)), (0, 0));
    let all: Vec<_> = made.iter().map(String::as_str).collect();
    shows(&alice, &conversation, "1", &all).await.created();

    assert!(bob.fetches(&format!("/api/attachments/{}", made[1])).await == (200, large.clone()));
    let bearer = format!("Bearer {}", bob.access);
    let headers = [("authorization", bearer.as_str()), ("range", "bytes=9000000-9000009")];
    let path = format!("/api/attachments/{}", made[2]);
    let part = bob.sends(awc::http::Method::GET, &path, &headers, None).await;
    assert_eq!(part.status, 206);
    assert_eq!(part.text, String::from_utf8_lossy(&large[9_000_000..9_000_010]));

    let proof = json!({ "password": crate::support::person::PASSWORD });
    alice.deletes("/api/me", proof).await.done();
    crate::erasure::all_done(&admin).await;
    assert_eq!(in_bucket(), 0);
    let mut doctor = world.command();
    doctor.arg("doctor");
    let doctor = actix_web::web::block(move || doctor.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("ok    storage: S3 writes, reads and deletes"), "{said}");
}

#[actix_web::test]
async fn unreachable_bucket_returns_503_and_leaves_no_staging_file() {
    let settings = [
        ("STORAGE__BACKEND", "s3"),
        ("STORAGE__BUCKET", "files"),
        ("STORAGE__ENDPOINT", "http://127.0.0.1:9"),
        ("STORAGE__ACCESS_KEY", "key"),
        ("STORAGE__SECRET_KEY", "secret"),
    ];
    let world = World::with(Backend::Sqlite, &settings).await;
    let alice = world.person("Alice").await;

    let answer = attaches(&alice, "f", "x/y", b"something").await;
    assert_eq!(answer.header("retry-after"), Some("2"));
    answer.refused(503, "files/storage-unavailable");
    assert_eq!(on_the_desk(&world), 0);
    assert!(!world.log().contains("secret"));
    // What was to be removed from it waits; what lies on the desk does not.
    std::fs::write(world.dir.path().join("uploads/x.part"), "stray").unwrap();
    world.kill();
    world.start();
    soon("strays go", async {
        while on_the_desk(&world) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn sigkill_leaves_no_orphaned_blob_or_dangling_attachment(backend: Backend) {
    let world = World::new(backend.clone()).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let mut said = Vec::new();
    for round in 0..6u64 {
        let sends = (0..8u64).map(|n| {
            let (alice, conversation) = (alice.anew(), conversation.clone());
            async move {
                let bytes = format!("{round} {n} ").repeat(50_000).into_bytes();
                let made = attaches(&alice, "f", "x/y", &bytes).await;
                if made.status != 201 {
                    return None;
                }
                let made = id(&made.body);
                let shown = shows(&alice, &conversation, &format!("{round}-{n}"), &[&made]).await;
                (shown.status == 201).then_some((made, bytes))
            }
        });
        let sends: Vec<_> = sends.map(|send| rt::spawn(send)).collect();
        tokio::time::sleep(Duration::from_millis(20 * round * round + 2)).await; // the moment
        world.kill();
        for send in sends {
            said.extend(send.await.ok().flatten()); // whoever got no answer has ended
        }
        world.start();
    }
    if let Backend::Postgres(url) = &backend {
        // Other nodes may have claims there: these end after an hour, which is over now.
        let (client, wire) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        let wire = rt::spawn(wire);
        client.execute("UPDATE blobs SET since = since - interval '2 hours'", &[]).await.unwrap();
        drop(client);
        wire.await.unwrap().unwrap();
        world.kill();
        world.start();
    }

    assert!(!said.is_empty(), "the kills came too early to show anything");
    let (alice, bob) = (alice.anew(), bob.anew());
    for (file, bytes) in &said {
        assert!(bob.fetches(&format!("/api/attachments/{file}")).await == (200, bytes.clone()));
    }
    // Whatever else is kept belongs to somebody: it is in her archive, byte by byte.
    let archive = crate::erasure::export(&alice).await;
    let kept = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let kept = kept
        .file_names()
        .filter(|name| name.as_ref().is_ok_and(|name| name.starts_with("files/")))
        .count();
    soon("nothing else is kept", async {
        while objects(&world) != kept || on_the_desk(&world) != 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(kept >= said.len());
}
