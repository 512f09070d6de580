//! Taking everything along, and leaving nothing behind.

use std::io::{Cursor, Read};
use std::path::Path;
use std::time::Duration;

use awc::http::Method;
use serde_json::{Value, json};
use sha2_of::sha256;

use crate::files::{attaches, shows};
use crate::second_factor::sets_up;
use crate::support::person::PASSWORD;
use crate::support::{Backend, Person, World, on_both_databases, soon};
use crate::uploads::begins_an_upload;

on_both_databases! {
    export_is_complete_and_only_for_its_owner,
    lost_export_is_rebuilt_and_strays_are_removed,
    export_survives_sigkill,
    account_erasure_leaves_no_trace,
    account_erasure_survives_sigkill,
    account_deletion_requires_reauthentication_or_admin,
}

/// SHA-256, as the store keeps of tokens.
mod sha2_of {
    pub fn sha256(text: &str) -> Vec<u8> {
        use std::io::Write;
        let mut tool = std::process::Command::new("sha256sum")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let out = tool.wait_with_output().unwrap().stdout;
        let digits = std::str::from_utf8(&out[..64]).unwrap();
        (0..32).map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap()).collect()
    }
}

/// Asks until the archive is there.
pub async fn export(person: &Person) -> Vec<u8> {
    soon("the archive", async {
        loop {
            match person.fetches("/api/me/export").await {
                (200, bytes) => return bytes,
                (202, _) => tokio::time::sleep(Duration::from_millis(20)).await,
                (status, bytes) => panic!("{status} {}", String::from_utf8_lossy(&bytes)),
            }
        }
    })
    .await
}

/// The files of an archive, by name.
fn files(bytes: Vec<u8>) -> Vec<(String, String)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("a whole archive");
    let count = archive.len();
    let read = |n| {
        let mut file = archive.by_index(n).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        (file.name().unwrap().into_owned(), text)
    };
    (0..count).map(read).collect()
}

/// Waits until every job has ended well.
pub async fn all_done(admin: &Person) {
    soon("all jobs are done", async {
        loop {
            let jobs = admin.get("/api/admin/jobs").await.ok();
            let jobs = jobs["items"].as_array().unwrap();
            assert!(jobs.iter().all(|job| job["state"] != "dead"), "{jobs:?}");
            if jobs.iter().all(|job| job["state"] == "done") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Every table of the database, every row as text.
async fn rows(url: &str) -> Vec<String> {
    let (client, wire) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let wire = actix_web::rt::spawn(wire);
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'";
    let mut found = Vec::new();
    for table in client.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let query = format!("SELECT t::text FROM \"{table}\" t");
        for row in client.query(&query, &[]).await.unwrap() {
            found.push(format!("{table}: {}", row.get::<_, String>(0)));
        }
    }
    drop(client);
    wire.await.unwrap().unwrap();
    found
}

/// Everything on disk below a folder; SQLite's database and log are among it, page by page.
fn on_disk(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(on_disk(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((path.display().to_string(), bytes));
        }
    }
    found
}

/// Where these bytes are found: in any column of any table, in any file.
async fn traces(world: &World, backend: &Backend, canaries: &[(&str, Vec<u8>)]) -> Vec<String> {
    let mut found = Vec::new();
    let rows = match backend {
        Backend::Postgres(url) => rows(url).await,
        Backend::Sqlite => Vec::new(),
    };
    let files = on_disk(world.dir.path());
    for (what, canary) in canaries {
        let hex: String = canary.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = String::from_utf8_lossy(canary).into_owned();
        let in_rows = rows.iter().filter(|row| row.contains(&text) || row.contains(&hex));
        found.extend(in_rows.map(|row| format!("{what} in {row}")));
        let is_in = |bytes: &[u8]| bytes.windows(canary.len()).any(|window| window == canary);
        let in_files = files.iter().filter(|(_, bytes)| is_in(bytes));
        found.extend(in_files.map(|(path, _)| format!("{what} in {path}")));
    }
    found
}

/// Where these words are found.
pub async fn traces_of(world: &World, backend: &Backend, words: &[&str]) -> Vec<String> {
    let canaries: Vec<_> = words.iter().map(|word| (*word, word.as_bytes().to_vec())).collect();
    traces(world, backend, &canaries).await
}

async fn export_is_complete_and_only_for_its_owner(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let eve = world.person("Eve").await;
    for n in 0..450 {
        alice.says(&conversation, &n.to_string(), &format!("line {n}")).await.created();
    }
    bob.says(&conversation, "b", "an answer").await.created();
    world.stranger().get("/api/me/export").await.refused(401, "auth/unauthenticated");

    let first = alice.get("/api/me/export").await;
    assert_eq!(first.header("retry-after"), Some("1"));
    assert!(["waiting", "running"].contains(&first.status(202)["state"].as_str().unwrap()));
    let bytes = export(&alice).await;
    let again = export(&alice).await;

    assert_eq!(bytes, again, "one archive, until it ends");
    let files = files(bytes);
    let file = |name: &str| &files.iter().find(|(path, _)| path == name).expect(name).1;
    let account: Value = serde_json::from_str(file("account.json")).unwrap();
    assert_eq!(account["phone"], json!(alice.phone));
    assert_eq!(account["devices"][0]["name"], "Alice's phone");
    let said = file(&format!("messages/{conversation}.jsonl"));
    assert_eq!(said.lines().count(), 451);
    assert!(said.contains("line 449") && said.contains("an answer"));
    assert!(file("contacts.jsonl").contains(&bob.phone));
    assert!(file("audit.jsonl").contains("account.export_requested"));
    for file in &files {
        assert!(!file.1.contains("argon2") && !file.1.contains(&alice.refresh), "{}", file.0);
    }
    let eves = export(&eve).await;
    let theirs = self::files(eves);
    assert!(
        theirs.iter().all(|(_, text)| !text.contains("line 1") && !text.contains(&alice.phone))
    );
}

async fn lost_export_is_rebuilt_and_strays_are_removed(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    export(&alice).await;
    let shelf = world.dir.path().join("exports");
    let archives = || std::fs::read_dir(&shelf).unwrap().count();
    assert_eq!(archives(), 1);

    // Somebody loses the disk.
    std::fs::remove_dir_all(&shelf).unwrap();
    alice.get("/api/me/export").await.status(202);
    export(&alice).await;
    assert_eq!(archives(), 1);

    // What belongs to nobody is swept when a worker starts, and what an attempt has left.
    let stray = shelf.join("job_00000000000000000000000000000000.part1");
    let whole = std::fs::read_dir(&shelf).unwrap().next().unwrap().unwrap().path();
    let left = whole.with_extension("part7");
    std::fs::write(&stray, "half").unwrap();
    std::fs::write(&left, "half").unwrap();
    world.kill();
    world.start();
    soon("the strays go", async {
        while stray.exists() || left.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(archives(), 1);
}

async fn export_survives_sigkill(backend: Backend) {
    let world = World::with(backend, &[("JOBS__LEASE_SECONDS", "1")]).await;
    let (alice, _, conversation) = world.two_friends().await;
    for n in 0..300 {
        alice.says(&conversation, &n.to_string(), &format!("line {n}")).await.created();
    }
    for wait_ms in [0, 3, 8, 15] {
        let asked = alice.anew().get("/api/me/export").await;
        assert!([200, 202].contains(&asked.status), "{}", asked.text);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await; // the moment of the kill
        world.kill();
        world.start();
    }

    let bytes = export(&alice.anew()).await;
    let said = files(bytes).into_iter().find(|(name, _)| name.starts_with("messages/")).unwrap();
    assert_eq!(said.1.lines().count(), 300);
    let shelf: Vec<_> = on_disk(&world.dir.path().join("exports"));
    assert!(shelf.iter().filter(|(name, _)| name.ends_with(".zip")).count() == 1);
}

async fn account_erasure_leaves_no_trace(backend: Backend) {
    let settings = [
        ("AUTH__DELETED_ACCOUNT_MESSAGES", "remove"),
        ("HTTP__TRUSTED_PROXIES", r#"["127.0.0.1"]"#),
        ("TELEMETRY__LOG_FILTER", "info,securevox=debug"),
    ];
    let world = World::with(backend.clone(), &settings).await;
    let (admin, bob) = (world.admin().await, world.person("Bob").await);
    let alice = world.person("Canary Name").await;
    let headers = [("x-forwarded-for", "203.0.113.77"), ("user-agent", "CanaryAgent/7")];
    let device = json!({ "name": "canary device", "platform": "canary-os" });
    let login = json!({ "phone": alice.phone, "password": PASSWORD, "device": device });
    let login = login.to_string().into_bytes();
    let login = alice.sends(Method::POST, "/api/auth/login", &headers, Some(login)).await.ok();
    let refresh = login["refresh_token"].as_str().unwrap();
    let (_, codes) = sets_up(&alice).await;
    let reset = format!("/api/admin/users/{}/reset", alice.id);
    let reset = admin.post(&reset, json!(null)).await.created();
    alice.befriends(&bob).await;
    let direct = json!({ "kind": "direct", "members": [bob.id] });
    let direct = alice.post("/api/conversations", direct).await.created();
    let direct = direct["id"].as_str().unwrap();
    let group = world.group(&[&alice, &bob]).await;
    for n in 0..600 {
        alice.says(direct, &format!("canary-direct-id-{n}"), "canary-direct").await.created();
        alice.says(&group, &format!("canary-group-id-{n}"), "canary-group").await.created();
        bob.says(&group, &n.to_string(), "bob stays").await.created();
    }
    for (n, conversation) in [direct, group.as_str()].into_iter().enumerate() {
        let name = format!("canary-file-{n}.txt");
        let bytes = format!("canary-bytes-{n}").into_bytes();
        let made = attaches(&alice, &name, "text/plain", &bytes).await.created();
        let file = made["id"].as_str().unwrap();
        shows(&alice, conversation, &format!("canary-file-id-{n}"), &[file]).await.created();
    }
    attaches(&alice, "canary-file-2", "text/plain", b"canary-bytes-2").await.created();
    begins_an_upload(&alice, b"canary-bytes-3").await;
    export(&alice).await;
    let alices = alice.connects().await;
    let mut bobs = bob.connects().await;
    let canaries = [
        ("name", b"Canary Name".to_vec()),
        ("phone", alice.phone.clone().into_bytes()),
        ("device", b"canary device".to_vec()),
        ("platform", b"canary-os".to_vec()),
        ("agent", b"CanaryAgent/7".to_vec()),
        ("address", b"203.0.113.77".to_vec()),
        ("direct text", b"canary-direct".to_vec()),
        ("group text", b"canary-group".to_vec()),
        ("file name", b"canary-file".to_vec()),
        ("file", b"canary-bytes".to_vec()),
        ("client id", b"canary-group-id-4".to_vec()),
        ("refresh hash", sha256(refresh)),
        ("first refresh hash", sha256(&alice.refresh)),
        ("reset hash", sha256(reset["reset_token"].as_str().unwrap())),
        ("recovery hash", sha256(&format!("recovery:{}:{}", alice.id, codes[1].replace('-', "")))),
    ];
    let before = traces(&world, &backend, &canaries).await;
    for (what, _) in &canaries {
        let seen = before.iter().any(|trace| trace.starts_with(&format!("{what} in")));
        assert!(seen, "the search would not find: {what}");
    }

    let proof = json!({ "password": PASSWORD, "code": codes[0] });
    alice.deletes("/api/me", proof).await.done();
    let mut alices = alices;
    alices.ends().await;
    while bobs.hears("conversation").await["left"] != json!(alice.id) {}
    all_done(&admin).await;

    let after = traces(&world, &backend, &canaries).await;
    assert!(after.is_empty(), "{} traces\n{}", after.len(), after.join("\n"));
    alice.get("/api/me").await.refused(401, "auth/invalid-token");
    alice.logs_in(&alice.phone).await.refused(401, "auth/invalid-credentials");
    let path = format!("/api/conversations/{direct}");
    bob.get(&path).await.refused(404, "chat/conversation-not-found");
    let said = bob.reads(&group).await;
    assert_eq!(said.iter().filter(|message| message["body"] == "bob stays").count(), 600);
    assert_eq!(bob.get("/api/contacts").await.ok()["items"], json!([]));
    world.stranger().registers(&alice.phone, "Somebody else").await.created();
}

async fn account_erasure_survives_sigkill(backend: Backend) {
    let settings = [("JOBS__LEASE_SECONDS", "1"), ("AUTH__DELETED_ACCOUNT_MESSAGES", "remove")];
    let world = World::with(backend.clone(), &settings).await;
    let (admin, bob) = (world.admin().await, world.person("Bob").await);
    let mut canaries: Vec<(&str, Vec<u8>)> = Vec::new();
    for wait_ms in [0u64, 4, 12] {
        let alice = world.person(&format!("Canary {wait_ms} Name")).await;
        let group = world.group(&[&alice, &bob]).await;
        for n in 0..200 {
            alice.says(&group, &n.to_string(), &format!("canary-{wait_ms}-said")).await.created();
        }
        let proof = json!({ "password": PASSWORD });
        let mut asks = Box::pin(alice.tries(Method::DELETE, "/api/me", proof));
        // The moment of the kill: anywhere between the question and the last step.
        let asked = tokio::time::timeout(Duration::from_millis(wait_ms), &mut asks).await;
        world.kill();
        drop(asks);
        world.start();
        let alice = alice.anew();
        let left = alice.logs_in(&alice.phone).await;
        if left.status == 200 {
            assert_ne!(
                asked.map(|a| a.map(|(status, _)| status)),
                Ok(Some(204)),
                "it was said to be done"
            );
            assert_eq!(alice.reads(&group).await.len(), 200, "nothing happened, or all");
            alice.deletes("/api/me", json!({ "password": PASSWORD })).await.done();
        }
        canaries.push(("name", format!("Canary {wait_ms} Name").into_bytes()));
        canaries.push(("text", format!("canary-{wait_ms}-said").into_bytes()));
    }
    all_done(&admin.anew()).await;

    let after = traces(&world, &backend, &canaries).await;
    assert!(after.is_empty(), "{} traces\n{}", after.len(), after.join("\n"));
}

async fn account_deletion_requires_reauthentication_or_admin(backend: Backend) {
    let world = World::new(backend).await;
    let (admin, alice, eve) =
        (world.admin().await, world.person("Alice").await, world.person("Eve").await);
    let (_, codes) = sets_up(&alice).await;
    let proof = |password: &str, code: Option<&str>| json!({ "password": password, "code": code });

    alice.deletes("/api/me", proof("wrong", None)).await.refused(403, "auth/password-incorrect");
    alice.deletes("/api/me", proof(PASSWORD, None)).await.refused(403, "auth/code-invalid");
    let account = format!("/api/admin/users/{}", alice.id);
    eve.delete(&account).await.refused(403, "auth/forbidden");
    alice.deletes("/api/me", proof(PASSWORD, Some(&codes[0]))).await.done();
    admin.delete(&account).await.refused(404, "users/user-not-found");
    admin.delete(&format!("/api/admin/users/{}", eve.id)).await.done();

    eve.get("/api/me").await.refused(401, "auth/invalid-token");
    let audit = admin.get("/api/admin/audit?action=user.deleted").await.ok();
    assert_eq!(audit["items"][0]["actor"], json!(admin.id));
    let people = admin.get("/api/admin/users").await.ok();
    assert_eq!(people["items"].as_array().unwrap().len(), 1);
}
