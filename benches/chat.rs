//! Messages over sockets, durable before they are acknowledged: how long one takes at a steady
//! rate, and how many there can be. Client and server are separate processes.
#![expect(clippy::print_stdout, reason = "a bench speaks to the terminal")]
#![expect(clippy::unwrap_used, reason = "a bench that fails may stop")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bench::figures::{figure, times};
use bench::process::cpu;
use bench::rational;
use bench::server::Server;
use bench::wire::{Http, Inbox, Socket, number};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

const PEOPLE: usize = 40;
const CONVERSATIONS: usize = 20;
/// How long each rate is kept; `SECUREVOX_BENCH_SECONDS` overrides it.
const SECONDS: u32 = 20;
/// How many wait for their acknowledgement at any time in the closed loop.
const IN_FLIGHT: usize = 128;
const BODY: usize = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let seconds = setting("SECUREVOX_BENCH_SECONDS").and_then(|s| s.parse().ok());
        let seconds = seconds.unwrap_or(SECONDS);
        measure("SQLite", &[], seconds).await;
        match setting("SECUREVOX_TEST_POSTGRES") {
            Some(admin) => {
                let url = database(&admin).await;
                measure("PostgreSQL", &[("DATABASE__URL", &url)], seconds).await;
            }
            None => println!("PostgreSQL: SECUREVOX_TEST_POSTGRES names no server"),
        }
    });
}

fn setting(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a benchmark is told its surroundings")]
    std::env::var(name).ok()
}

/// A fresh database on the server at `admin`.
async fn database(admin: &str) -> String {
    let name = format!("bench_{}", std::process::id());
    let (client, connection) = tokio_postgres::connect(admin, tokio_postgres::NoTls).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    format!("{}/{name}", admin.rsplit_once('/').unwrap().0)
}

async fn measure(name: &str, settings: &[(&str, &str)], seconds: u32) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), settings).await;
    let mut group = Group::gather(&server).await;
    for rate in [100, 500] {
        let what = format!("{name}, {rate} messages/s");
        group.paced(&what, &server, rate, seconds).await;
    }
    group.closed(name, &server, seconds.div_ceil(2)).await;
}

/// People with open sockets, and their conversations.
struct Group {
    sockets: Vec<Arc<Socket>>,
    /// Of each conversation its name, and who is in it.
    conversations: Vec<(String, Vec<usize>)>,
    board: Arc<Mutex<Board>>,
    acknowledged: UnboundedReceiver<()>,
    _listening: JoinSet<()>,
}

/// What became of every message.
struct Board {
    messages: HashMap<u64, Message>,
    next: u64,
    /// Hears of each acknowledgement.
    bell: UnboundedSender<()>,
}

struct Message {
    due: Instant,
    acknowledged: Option<Duration>,
    /// Sockets it has not reached yet; below zero it came twice.
    missing: i64,
    delivered: Option<Duration>,
}

impl Group {
    async fn gather(server: &Server) -> Self {
        let mut http = Http::open(&server.address).await.unwrap();
        let (bell, acknowledged) = unbounded_channel();
        let board = Board { messages: HashMap::new(), next: 1, bell };
        let board = Arc::new(Mutex::new(board));
        let (mut people, mut sockets, mut listening) = (vec![], vec![], JoinSet::new());
        for n in 0..PEOPLE {
            people.push(http.register(n).await);
        }
        let conversations = conversations(&mut http, &people).await;
        for (_, token) in &people {
            let (socket, inbox) = Socket::enter(&server.address, token).await.unwrap();
            let socket = Arc::new(socket);
            sockets.push(Arc::clone(&socket));
            listening.spawn(listen(socket, inbox, Arc::clone(&board)));
        }
        Self { sockets, conversations, board, acknowledged, _listening: listening }
    }

    /// Sends the next message; its time begins at `due`.
    async fn send(&self, due: Instant) {
        let (n, place) = {
            let mut board = self.board.lock().unwrap();
            let n = board.next;
            board.next += 1;
            let place = usize::try_from(n).unwrap();
            let (_, members) = &self.conversations[place % CONVERSATIONS];
            let missing = i64::try_from(members.len()).unwrap();
            let message = Message { due, acknowledged: None, missing, delivered: None };
            board.messages.insert(n, message);
            (n, place)
        };
        let (conversation, members) = &self.conversations[place % CONVERSATIONS];
        let sender = &self.sockets[members[place / CONVERSATIONS % members.len()]];
        let body = "x".repeat(BODY);
        let frame = format!(
            r#"{{"id":{n},"event":"send_message","data":{{"conversation_id":"{conversation}","client_id":"{n}","body":"{body}"}}}}"#
        );
        sender.say(&frame).await;
    }

    /// Open loop: sends at a steady rate, whatever the answers do.
    async fn paced(&mut self, what: &str, server: &Server, rate: u32, seconds: u32) {
        let used = cpu(server.pid());
        let mut beats = pace(rate, rate * seconds);
        while let Some(due) = beats.recv().await {
            self.send(due).await;
        }
        self.settle().await;
        let used = cpu(server.pid()) - used;
        self.sum_up(what, used);
    }

    /// Closed loop: each acknowledgement sends the next.
    async fn closed(&mut self, name: &str, server: &Server, seconds: u32) {
        while self.acknowledged.try_recv().is_ok() {}
        let (began, used) = (Instant::now(), cpu(server.pid()));
        let end = began + Duration::from_secs(1) * seconds;
        for _ in 0..IN_FLIGHT {
            self.send(Instant::now()).await;
        }
        while Instant::now() < end {
            self.acknowledged.recv().await.unwrap();
            self.send(Instant::now()).await;
        }
        self.settle().await;
        let (took, used) = (began.elapsed().as_secs_f64(), cpu(server.pid()) - used);
        let count = self.board.lock().unwrap().messages.len();
        let deliveries = deliveries(&self.conversations) * rational(count);
        let values = [("messages", rational(count) / took), ("deliveries", deliveries / took)];
        figure("chat", &format!("{name}, {IN_FLIGHT} in flight"), "/s", &values, None);
        self.sum_up(&format!("{name}, {IN_FLIGHT} in flight"), used);
    }

    /// Waits until everything has arrived, or will not any more.
    async fn settle(&self) {
        for _ in 0..500 {
            let done = |m: &Message| m.missing <= 0 && m.acknowledged.is_some();
            if self.board.lock().unwrap().messages.values().all(done) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await; // for what should not come at all
    }

    fn sum_up(&self, what: &str, used: Duration) {
        let messages = std::mem::take(&mut self.board.lock().unwrap().messages);
        let aim = |name| what.ends_with("/s").then_some((name, 10.0));
        let mut acknowledged: Vec<_> = messages.values().filter_map(|m| m.acknowledged).collect();
        let mut delivered: Vec<_> = messages.values().filter_map(|m| m.delivered).collect();
        times("chat", &format!("{what}: sent to acknowledged"), &mut acknowledged, aim("p99"));
        times("chat", &format!("{what}: sent to delivered"), &mut delivered, aim("p99"));
        let each = used.as_secs_f64() * 1e6 / rational(messages.len());
        figure("chat", &format!("{what}: server CPU per message"), "µs", &[("", each)], None);
        let lost = messages.values().filter(|m| m.missing > 0 || m.acknowledged.is_none()).count();
        let doubled = messages.values().filter(|m| m.missing < 0).count();
        let values = [
            ("sent", rational(messages.len())),
            ("lost", rational(lost)),
            ("doubled", rational(doubled)),
        ];
        figure("chat", &format!("{what}: sent and delivered"), "", &values, Some(("lost", 0.0)));
    }
}

async fn conversations(http: &mut Http, people: &[(String, String)]) -> Vec<(String, Vec<usize>)> {
    let mut all = Vec::new();
    for c in 0..CONVERSATIONS {
        let members: Vec<_> = (0..2 + c % 4).map(|n| (2 * c + 9 * n) % PEOPLE).collect();
        let others: Vec<_> = members[1..].iter().map(|n| &people[*n].0).collect();
        let body = match others.len() {
            1 => json!({ "kind": "direct", "members": others }),
            _ => json!({ "kind": "group", "members": others, "title": "a group" }),
        };
        let token = &people[members[0]].1;
        let made = http.ask("POST", "/api/conversations", token, body).await;
        all.push((made["id"].as_str().unwrap().to_owned(), members));
    }
    all
}

/// How many sockets a message reaches on average.
fn deliveries(conversations: &[(String, Vec<usize>)]) -> f64 {
    let all: usize = conversations.iter().map(|(_, members)| members.len()).sum();
    rational(all) / rational(conversations.len())
}

/// Notes what comes on one socket.
async fn listen(socket: Arc<Socket>, mut inbox: Inbox, board: Arc<Mutex<Board>>) {
    while let Some(frame) = socket.hear(&mut inbox).await {
        let now = Instant::now();
        let mut board = board.lock().unwrap();
        if let Some(n) = number(&frame, "{\"reply\":") {
            assert!(!frame.contains("\"error\""), "{frame}");
            if let Some(message) = board.messages.get_mut(&n) {
                message.acknowledged = Some(now - message.due);
            }
            let _ = board.bell.send(()); // the bench is over when nobody listens
        } else if let Some(n) = number(&frame, "\"client_id\":\"")
            && let Some(message) = board.messages.get_mut(&n)
        {
            message.missing -= 1;
            if message.missing == 0 {
                message.delivered = Some(now - message.due);
            }
        }
    }
}

/// Beats at a steady rate; a thread of its own, since the runtime's timer knows whole
/// milliseconds only.
fn pace(rate: u32, count: u32) -> UnboundedReceiver<Instant> {
    let (beat, beats) = unbounded_channel();
    let start = Instant::now() + Duration::from_millis(50);
    std::thread::spawn(move || {
        for n in 0..count {
            let due = start + Duration::from_secs(1) * n / rate;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            beat.send(due).unwrap();
        }
    });
    beats
}
