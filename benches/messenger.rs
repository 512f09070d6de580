//! What a messenger's server does all day: catching up, searching, carrying files, keeping people
//! with many contacts.
#![expect(clippy::unwrap_used, reason = "a bench that fails may stop")]

use std::sync::Arc;
use std::time::Duration;

use bench::figures::{figure, times};
use bench::process::{cpu, memory};
use bench::rational;
use bench::server::Server;
use bench::wire::{Http, Inbox, Socket, number};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What somebody has missed: so many messages in each of so many conversations.
const MISSED: usize = 20;
const CONVERSATIONS: usize = 50;
/// How often somebody catches up.
const SYNCS: usize = 200;
/// Messages that are searched; `SECUREVOX_BENCH_MESSAGES` overrides it.
const MESSAGES: usize = 1_000_000;
const SEARCHES: usize = 500;
/// Writers who fill the database, and how many of their messages are on their way.
const WRITERS: usize = 8;
const IN_FLIGHT: usize = 200;
/// Words there are; the nth is said as often as 1/n of the most frequent one.
const WORDS: usize = 20_000;
const FILE: usize = 64 << 20;
const FILES: usize = 4;
/// People with contacts, and how many contacts each has.
const PEOPLE: usize = 1_000;
const CONTACTS: usize = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        sync().await;
        files().await;
        contacts().await;
        search().await;
    });
}

/// A thousand missed messages, from the question to the last of them.
async fn sync() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]).await;
    let mut http = Http::open(&server.address).await.unwrap();
    let (me, token) = http.register(0).await;
    let (_, other) = http.register(1).await;
    let mut cursors = serde_json::Map::new();
    for n in 0..CONVERSATIONS {
        let body = json!({ "kind": "group", "members": [me], "title": format!("group {n}") });
        let made = http.ask("POST", "/api/conversations", &other, body).await;
        let id = made["id"].as_str().unwrap();
        let mut begin = 0;
        for said in 0..=MISSED {
            let body = json!({ "client_id": format!("{n}-{said}"), "body": "x".repeat(200) });
            let path = format!("/api/conversations/{id}/messages");
            let message = http.ask("POST", &path, &other, body).await;
            if said == 0 {
                begin = message["seq"].as_i64().unwrap();
            }
        }
        cursors.insert(id.to_owned(), json!(begin));
    }
    let ask = json!({ "id": 1, "event": "sync", "data": { "cursors": cursors } }).to_string();
    let (mut took, used) = (Vec::new(), cpu(server.pid()));
    for _ in 0..SYNCS {
        let (socket, mut inbox) = Socket::open(&server.address, "/ws").await.unwrap();
        let hello = json!({ "id": 0, "event": "authenticate", "data": { "token": token } });
        socket.say(&hello.to_string()).await;
        for _ in 0..2 {
            socket.hear(&mut inbox).await.unwrap();
        }
        let began = Instant::now();
        socket.say(&ask).await;
        let mut missing = MISSED * CONVERSATIONS;
        while missing > 0 {
            let frame = socket.hear(&mut inbox).await.unwrap();
            assert!(!frame.contains("\"error\""), "{frame}");
            missing -= usize::from(frame.starts_with("{\"event\":\"message\""));
        }
        took.push(began.elapsed());
    }
    let what = "1,000 missed messages in 50 conversations: asked to last heard";
    times("messenger", what, &mut took, None);
    let each = (cpu(server.pid()) - used).as_secs_f64() * 1e3 / rational(SYNCS);
    figure("messenger", "the same: server CPU", "ms", &[("", each)], None);
}

/// Large files up and down, one after the other.
async fn files() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]).await;
    let mut http = Http::open(&server.address).await.unwrap();
    let (_, token) = http.register(0).await;
    let mut ids = Vec::new();
    let mut noise = Noise(1);
    let (began, used) = (Instant::now(), cpu(server.pid()));
    let mut making = Duration::ZERO;
    for _ in 0..FILES {
        let start = Instant::now();
        let bytes: Vec<u8> = (0..FILE / 8).flat_map(|_| noise.next().to_le_bytes()).collect();
        making += start.elapsed();
        ids.push(
            http.upload("/api/attachments", &token, &bytes).await["id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let rate = |took: Duration| rational(FILES * FILE) / 1e6 / took.as_secs_f64();
    let values = [
        ("a second", rate(began.elapsed().saturating_sub(making))),
        ("a core's second", rate(cpu(server.pid()) - used)),
    ];
    figure("messenger", "files of 64 MiB up", "MB", &values, None);
    let (began, used) = (Instant::now(), cpu(server.pid()));
    for id in &ids {
        let length = http.download(&format!("/api/attachments/{id}"), &token).await;
        assert_eq!(length, FILE);
    }
    let values =
        [("a second", rate(began.elapsed())), ("a core's second", rate(cpu(server.pid()) - used))];
    figure("messenger", "files of 64 MiB down", "MB", &values, None);
}

/// What somebody costs who is online with 200 contacts, all of them online too.
async fn contacts() {
    let dir = tempfile::tempdir().unwrap();
    let mut people = Vec::new();
    {
        let server = Server::start(dir.path(), &[]).await;
        let mut http = Http::open(&server.address).await.unwrap();
        for n in 0..PEOPLE {
            people.push(http.register(n).await);
        }
        for (n, (_, token)) in people.iter().enumerate() {
            for step in 1..=CONTACTS / 2 {
                let (other, theirs) = &people[(n + step) % PEOPLE];
                http.ask("POST", "/api/contacts", token, json!({ "user_id": other })).await;
                let path = format!("/api/contacts/{}/accept", people[n].0);
                let (status, _) = http.try_ask("POST", &path, theirs, None).await.unwrap();
                assert!((200..300).contains(&status), "{status}");
            }
        }
    }
    let server = Server::start(dir.path(), &[]).await;
    let pid = server.pid();
    drop(Socket::enter(&server.address, &people[0].1).await.unwrap()); // what is made only once
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, used, began) = (memory(pid), cpu(pid), Instant::now());
    let mut listening = JoinSet::new();
    for (_, token) in &people {
        let (socket, mut inbox) = Socket::enter(&server.address, token).await.unwrap();
        listening.spawn(async move { while socket.hear(&mut inbox).await.is_some() {} });
    }
    let rate = rational(PEOPLE) / began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(5)).await; // what they hear of each other has settled
    let (after, used) = (memory(pid), cpu(pid) - used);
    let each = |after: f64, before: f64| (after - before) / 1024.0 / rational(PEOPLE);
    let values = [
        ("", each(after.resident, before.resident)),
        ("of that heap", each(after.anonymous, before.anonymous)),
    ];
    figure("messenger", "memory of somebody online with 200 contacts online", "KiB", &values, None);
    let micros = used.as_secs_f64() * 1e6 / rational(PEOPLE);
    let values = [("a second", rate), ("CPU µs each", micros)];
    figure("messenger", "people with 200 contacts who come", "", &values, None);
}

/// Words among a million messages that one person may all see.
async fn search() {
    #[expect(clippy::disallowed_methods, reason = "a benchmark is told how large it is to be")]
    let count = std::env::var("SECUREVOX_BENCH_MESSAGES").ok().and_then(|s| s.parse().ok());
    let count: usize = count.unwrap_or(MESSAGES);
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]).await;
    let mut http = Http::open(&server.address).await.unwrap();
    let (me, token) = http.register(0).await;
    let mut writing = JoinSet::new();
    let began = Instant::now();
    for n in 0..WRITERS {
        let (_, writer) = http.register(n + 1).await;
        let body = json!({ "kind": "group", "members": [me], "title": "a group" });
        let made = http.ask("POST", "/api/conversations", &writer, body).await;
        let id = made["id"].as_str().unwrap().to_owned();
        let (socket, inbox) = Socket::enter(&server.address, &writer).await.unwrap();
        writing.spawn(write(Arc::new(socket), inbox, id, n, count / WRITERS));
    }
    writing.join_all().await;
    let rate = rational(count) / began.elapsed().as_secs_f64();
    figure("messenger", "messages written to be searched", "/s", &[("", rate)], None);
    let mut noise = Noise(7);
    let mut http = Http::open(&server.address).await.unwrap(); // the other was idle for too long
    for (what, least) in [("words of any frequency", 1), ("rare words", WORDS / 10)] {
        let mut took = Vec::new();
        for _ in 0..SEARCHES {
            let word = noise.word(least);
            let began = Instant::now();
            let path = format!("/api/search?q={word}");
            let (status, _) = http.try_ask("GET", &path, &token, None).await.unwrap();
            assert_eq!(status, 200);
            took.push(began.elapsed());
        }
        let what = format!("search among {count} messages, {what}");
        times("messenger", &what, &mut took, None);
    }
}

/// Says so many things, a part of them on their way at any time.
async fn write(
    socket: Arc<Socket>,
    mut inbox: Inbox,
    conversation: String,
    seed: usize,
    count: usize,
) {
    let mut noise = Noise(seed as u64 + 100);
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < count {
        while sent < count && sent - acknowledged < IN_FLIGHT {
            sent += 1;
            let body: Vec<_> = (0..8).map(|_| noise.word(1)).collect();
            let data = json!({
                "conversation_id": conversation, "client_id": sent.to_string(), "body": body.join(" "),
            });
            let frame = json!({ "id": sent, "event": "send_message", "data": data });
            socket.say(&frame.to_string()).await;
        }
        let frame = socket.hear(&mut inbox).await.unwrap();
        assert!(!frame.contains("\"error\""), "{frame}");
        acknowledged += usize::from(number(&frame, "{\"reply\":").is_some());
    }
}

/// A stream of numbers that is the same each time (splitmix64).
struct Noise(u64);

impl Noise {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A word whose rank is at least `least`, by Zipf's law.
    fn word(&mut self, least: usize) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a draw")]
        let part = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        let (least, most) = (rational(least), rational(WORDS));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
        let rank = (least * (most / least).powf(part)) as u64;
        let (mut z, mut word) = (rank.wrapping_mul(0x9e37_79b9_7f4a_7c15), String::from("w"));
        for _ in 0..7 {
            word.push(char::from(b'a' + u8::try_from(z >> 59).unwrap() % 26));
            z = z.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        }
        word
    }
}
