//! What an idle socket costs: memory and time of the processor, after its device has said who it is
//! and sent and received a message. The same is asked of a Socket.IO server on Node.js.
#![expect(clippy::print_stdout, reason = "a bench speaks to the terminal")]
#![expect(clippy::unwrap_used, reason = "a bench that fails may stop")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bench::figures::figure;
use bench::process::{cpu, memory};
use bench::rational;
use bench::server::Server;
use bench::wire::{Http, Inbox, Socket};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Sockets; `SECUREVOX_BENCH_SOCKETS` overrides it.
const SOCKETS: usize = 10_000;
/// How many are opened at once.
const AT_ONCE: usize = 64;
/// Idle time that is watched: two rounds of pings.
const IDLE: Duration = Duration::from_secs(40);
/// KiB that a socket may hold; `socket.io` on Node.js holds 17.
const AIM: f64 = 14.0;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        #[expect(clippy::disallowed_methods, reason = "a benchmark is told how large it is to be")]
        let count = std::env::var("SECUREVOX_BENCH_SOCKETS").ok().and_then(|s| s.parse().ok());
        let count = count.unwrap_or(SOCKETS);
        let mut people = Arc::default();
        for speech in [Speech::Plain, Speech::SocketIo] {
            let dir = tempfile::tempdir().unwrap();
            people = Arc::new(settle_in(dir.path(), count).await);
            let server = Server::start(dir.path(), &[]).await;
            let aim = Some(("settled", AIM));
            let name = format!("SecureVOX {}", speech.path());
            measure(&name, &server, speech, &people, aim).await;
            storm(&name, &server, speech, &people).await;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/socketio.mjs");
        if script.with_file_name("node_modules").is_dir() {
            let peer = Server::peer(&script).await;
            measure("Node.js socket.io", &peer, Speech::SocketIo, &people, None).await;
        } else {
            println!("Node.js socket.io: not installed (npm ci in benches/peer)");
        }
    });
}

/// One account, and the conversation it has with its neighbour.
struct Person {
    token: String,
    conversation: String,
}

/// Registers people and lets each two of them open a conversation; the server that did this work
/// ends, so that no memory it needed for that is there when sockets are measured.
async fn settle_in(dir: &Path, count: usize) -> Vec<Person> {
    let server = Server::start(dir, &[]).await;
    let mut tasks = JoinSet::new();
    for part in 0..AT_ONCE {
        let address = server.address.clone();
        tasks.spawn(async move {
            let mut http = Http::open(&address).await.unwrap();
            let mut people = Vec::new();
            for n in (part * 2..count).step_by(AT_ONCE * 2) {
                let (_, first) = http.register(n).await;
                let (other, second) = http.register(n + 1).await;
                let body = json!({ "kind": "direct", "members": [other] });
                let made = http.ask("POST", "/api/conversations", &first, body).await;
                let conversation = made["id"].as_str().unwrap().to_owned();
                people.push(Person { token: first, conversation: conversation.clone() });
                people.push(Person { token: second, conversation });
            }
            people
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// How a client speaks to its server.
#[derive(Clone, Copy)]
enum Speech {
    Plain,
    SocketIo,
}

impl Speech {
    const fn path(self) -> &'static str {
        match self {
            Self::Plain => "/ws",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    fn request(self, id: u64, event: &str, data: &Value) -> String {
        match self {
            Self::Plain => json!({ "id": id, "event": event, "data": data }).to_string(),
            Self::SocketIo => format!("42{id}{}", json!([event, data])),
        }
    }

    /// Whether a frame answers the request `id`.
    fn answers(self, frame: &str, id: u64) -> bool {
        match self {
            Self::Plain => frame.contains(&format!("\"reply\":{id}")),
            Self::SocketIo => frame.starts_with(&format!("43{id}[")),
        }
    }
}

/// A client: the socket and what it has heard.
struct Client {
    speech: Speech,
    socket: Socket,
    inbox: Inbox,
}

impl Client {
    /// Connects, says who it is, and hears what it has missed so far.
    async fn enter(address: &str, speech: Speech, token: &str) -> Self {
        let mut client = Self::open(address, speech, token).await;
        client.ask(1, "sync", &json!({ "cursors": {} })).await;
        client
    }

    /// Connects and says who it is.
    async fn open(address: &str, speech: Speech, token: &str) -> Self {
        let (socket, inbox) = Socket::open(address, speech.path()).await.unwrap();
        let mut client = Self { speech, socket, inbox };
        if matches!(speech, Speech::SocketIo) {
            client.socket.say("40").await;
            client.hear(|frame| frame.starts_with("40")).await;
        }
        client.ask(0, "authenticate", &json!({ "token": token })).await;
        client
    }

    async fn ask(&mut self, id: u64, event: &str, data: &Value) {
        self.socket.say(&self.speech.request(id, event, data)).await;
        let speech = self.speech;
        let reply = self.hear(|frame| speech.answers(frame, id)).await;
        assert!(!reply.contains("\"error\""), "{reply}");
    }

    /// Waits for a certain frame.
    async fn hear(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        loop {
            let frame = self.socket.hear(&mut self.inbox).await;
            let frame = frame.unwrap_or_else(|| panic!("a socket ended: {}", self.inbox.end));
            if is_it(&frame) {
                return frame;
            }
        }
    }
}

async fn measure(
    name: &str,
    server: &Server,
    speech: Speech,
    people: &Arc<Vec<Person>>,
    aim: bench::figures::Aim,
) {
    let pid = server.pid();
    drop(Client::enter(&server.address, speech, &people[0].token).await); // what is made only once
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, began) = (memory(pid), Instant::now());

    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let (here, spoke) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let talk = Arc::new(Semaphore::new(0));
    let mut clients = JoinSet::new();
    for n in 0..people.len() {
        let permit = Arc::clone(&gate).acquire_owned().await.unwrap();
        let (address, people) = (server.address.clone(), Arc::clone(people));
        let (here, spoke, talk) = (Arc::clone(&here), Arc::clone(&spoke), Arc::clone(&talk));
        clients.spawn(async move {
            let client = Client::enter(&address, speech, &people[n].token).await;
            here.fetch_add(1, Ordering::Relaxed);
            drop(permit);
            let turn = talk.acquire_owned().await.unwrap();
            live(client, &people[n].conversation, turn, &spoke).await;
        });
    }
    let all = people.len();
    until(&here, all, &mut clients).await;
    let rate = rational(all) / began.elapsed().as_secs_f64();
    figure("sockets", &format!("{name}: connected and authenticated"), "/s", &[("", rate)], None);
    let opened = memory(pid);

    talk.add_permits(AT_ONCE);
    until(&spoke, all, &mut clients).await;
    let said = memory(pid);

    tokio::time::sleep(Duration::from_secs(5)).await;
    let used = cpu(pid);
    tokio::time::sleep(IDLE).await;
    let used = cpu(pid) - used;
    let settled = memory(pid);

    let each = |after: f64, before: f64| (after - before) / 1024.0 / rational(all);
    let values = [
        ("opened", each(opened.resident, before.resident)),
        ("after a message", each(said.resident, before.resident)),
        ("settled", each(settled.resident, before.resident)),
        ("of that heap", each(settled.anonymous, before.anonymous)),
    ];
    figure("sockets", &format!("{name}: memory per socket, {all} idle"), "KiB", &values, aim);
    let micros = used.as_secs_f64() * 1e6 / rational(all) / IDLE.as_secs_f64();
    figure("sockets", &format!("{name}: CPU per idle socket"), "µs/s", &[("", micros)], None);
    let megabytes = before.resident / 1024.0 / 1024.0;
    figure("sockets", &format!("{name}: memory before"), "MiB", &[("", megabytes)], None);
    assert!(clients.try_join_next().is_none(), "no socket ended");
}

/// All sockets are gone at once, something is said in every conversation, and all come back at
/// once: each has to hear what it missed, once.
async fn storm(name: &str, server: &Server, speech: Speech, people: &Arc<Vec<Person>>) {
    let mut http = Http::open(&server.address).await.unwrap();
    for person in people.iter().step_by(2) {
        let body = json!({ "client_id": "missed", "body": "come back" });
        let path = format!("/api/conversations/{}/messages", person.conversation);
        http.ask("POST", &path, &person.token, body).await;
    }
    let (back, began, used) = (Arc::new(AtomicUsize::new(0)), Instant::now(), cpu(server.pid()));
    let mut clients = JoinSet::new();
    for n in 0..people.len() {
        let (address, people) = (server.address.clone(), Arc::clone(people));
        let back = Arc::clone(&back);
        clients.spawn(async move {
            let mut client = Client::open(&address, speech, &people[n].token).await;
            let cursors = json!({ &people[n].conversation: 2 });
            client.socket.say(&speech.request(1, "sync", &json!({ "cursors": cursors }))).await;
            client.hear(|frame| frame.contains("\"missed\"")).await;
            back.fetch_add(1, Ordering::Relaxed);
            client
                .hear(|frame| {
                    assert!(!frame.contains("\"missed\""), "heard twice: {frame}");
                    false
                })
                .await;
        });
    }
    until(&back, people.len(), &mut clients).await;
    let values = [
        ("", began.elapsed().as_secs_f64()),
        ("of the processor", (cpu(server.pid()) - used).as_secs_f64()),
    ];
    let what = format!("{name}: {} come back at once, each with a missed message", people.len());
    figure("sockets", &what, "s", &values, Some(("", 30.0)));
    tokio::time::sleep(Duration::from_secs(2)).await; // for what should not come at all
    assert!(clients.try_join_next().is_none(), "nobody was lost, nobody heard it twice");
}

/// Says one thing, then answers pings for ever.
async fn live(
    mut client: Client,
    conversation: &str,
    turn: OwnedSemaphorePermit,
    spoke: &AtomicUsize,
) {
    let body = "x".repeat(200);
    let data = json!({ "conversation_id": conversation, "client_id": "1", "body": body });
    client.ask(2, "send_message", &data).await;
    drop(turn);
    spoke.fetch_add(1, Ordering::Relaxed);
    client.hear(|_| false).await;
}

/// Waits until all clients are so far; none of them may end.
async fn until(count: &AtomicUsize, all: usize, clients: &mut JoinSet<()>) {
    while count.load(Ordering::Relaxed) < all {
        assert!(clients.try_join_next().is_none(), "a client failed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
