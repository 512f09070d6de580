//! One group of 500: how many deliveries a second of the processor brings, beside the rooms of
//! ejabberd; and what somebody who does not read costs the others.
#![expect(clippy::print_stdout, reason = "a bench speaks to the terminal")]
#![expect(clippy::unwrap_used, reason = "a bench that fails may stop")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bench::figures::{figure, times};
use bench::process::cpu;
use bench::rational;
use bench::server::Server;
use bench::wire::{Http, Inbox, Socket, number};
use bench::xmpp::Xmpp;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

const MEMBERS: usize = 500;
/// How many messages are on their way at any time.
const IN_FLIGHT: usize = 4;
/// How long a measurement takes.
const SECONDS: u64 = 15;
const BODY: usize = 200;
/// Messages a second while somebody does not read, and how many: more than a reader's queue holds.
const PACE: u32 = 20;
const PACED: u32 = 300;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ours = ours().await;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer/ejabberd");
        let dir = tempfile::tempdir().unwrap();
        let Some(peer) = Server::peer_in(&script, dir.path()).await else {
            return println!("ejabberd: not to be had here");
        };
        let theirs = Room::enter(&peer.address).await.measure("ejabberd", &peer).await;
        let aim = Some(("", 1.0 / 3.0));
        let what = "CPU of a delivery to one of 500, SecureVOX to ejabberd";
        figure("fanout", what, "×", &[("", ours / theirs)], aim);
    });
}

/// Our figures; gives the processor's seconds for one delivery.
async fn ours() -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]).await;
    let mut room = Room::gather(&server, MEMBERS).await;
    let each = room.measure("SecureVOX", &server).await;
    let mut all = room.paced().await;
    times("fanout", "everybody reads: sent to delivered", &mut all, None);
    drop((room, server));

    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[("SESSIONS__SEND_QUEUE_CAPACITY", "64")]).await;
    let mut room = Room::gather(&server, MEMBERS - 1).await;
    let mut others = room.paced().await;
    times("fanout", "one does not read: sent to delivered", &mut others, None);
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100].as_secs_f64();
    let ratio = p99(&others) / p99(&all);
    figure("fanout", "p99 beside one who does not read", "×", &[("", ratio)], Some(("", 1.1)));
    each
}

/// Somebody in the room who listens.
enum Member {
    Socket(Socket),
    Xmpp(Xmpp),
}

/// Who is there, and what became of what was said.
struct Room {
    members: Vec<Arc<Member>>,
    conversation: String,
    board: Arc<Mutex<Board>>,
    arrived: UnboundedReceiver<()>,
    next: u64,
    _listening: JoinSet<()>,
    /// Has a socket and does not read from it.
    _mute: Option<Socket>,
}

struct Board {
    /// When a message was sent, and how many have not heard it yet.
    open: HashMap<u64, (Instant, usize)>,
    delays: Vec<Duration>,
    /// Hears of each message that has reached all.
    bell: UnboundedSender<()>,
}

impl Room {
    fn new(members: Vec<(Member, Inbox)>, conversation: String, mute: Option<Socket>) -> Self {
        let (bell, arrived) = unbounded_channel();
        let board = Board { open: HashMap::new(), delays: Vec::new(), bell };
        let board = Arc::new(Mutex::new(board));
        let mut listening = JoinSet::new();
        let members = members.into_iter().map(|(member, inbox)| {
            let member = Arc::new(member);
            listening.spawn(listen(Arc::clone(&member), inbox, Arc::clone(&board)));
            member
        });
        let members = members.collect();
        Self { members, conversation, board, arrived, next: 1, _listening: listening, _mute: mute }
    }

    /// A group of ours; those above `reading` do not read.
    async fn gather(server: &Server, reading: usize) -> Self {
        let mut http = Http::open(&server.address).await.unwrap();
        let mut people = Vec::new();
        for n in 0..MEMBERS {
            people.push(http.register(n).await);
        }
        let others: Vec<_> = people[1..].iter().map(|(id, _)| id).collect();
        let body = json!({ "kind": "group", "members": others, "title": "a large group" });
        let made = http.ask("POST", "/api/conversations", &people[0].1, body).await;
        let (mut members, mut mute) = (Vec::new(), None);
        for (n, (_, token)) in people.iter().enumerate() {
            let (socket, inbox) = Socket::enter(&server.address, token).await.unwrap();
            if n < reading {
                members.push((Member::Socket(socket), inbox));
            } else {
                mute = Some(socket);
            }
        }
        Self::new(members, made["id"].as_str().unwrap().to_owned(), mute)
    }

    /// A room of the peer.
    async fn enter(address: &str) -> Self {
        let mut members = Vec::new();
        for n in 0..MEMBERS {
            let member = Xmpp::enter(address, &format!("n{n}")).await.unwrap();
            members.push((Member::Xmpp(member), Inbox::default()));
        }
        Self::new(members, String::new(), None)
    }

    /// Waits until one more message has reached all; a bench that waits for ever tells nothing.
    async fn arrives(&mut self) {
        let next = self.arrived.recv();
        tokio::time::timeout(Duration::from_secs(60), next).await.unwrap().unwrap();
    }

    async fn say(&mut self) {
        let n = self.next;
        self.next += 1;
        self.board.lock().unwrap().open.insert(n, (Instant::now(), self.members.len()));
        let body = "x".repeat(BODY);
        match &*self.members[0] {
            Member::Socket(socket) => {
                let data = json!({
                    "conversation_id": self.conversation, "client_id": n.to_string(), "body": body,
                });
                let frame = json!({ "id": n, "event": "send_message", "data": data });
                socket.say(&frame.to_string()).await;
            }
            Member::Xmpp(member) => member.say(n, &body).await,
        }
    }

    /// Closed loop: what has reached all lets the next be said. Gives seconds of the processor for
    /// one delivery.
    async fn measure(&mut self, name: &str, server: &Server) -> f64 {
        let (began, used) = (Instant::now(), cpu(server.pid()));
        for _ in 0..IN_FLIGHT {
            self.say().await;
        }
        while began.elapsed() < Duration::from_secs(SECONDS) {
            self.arrives().await;
            self.say().await;
        }
        for _ in 0..IN_FLIGHT {
            self.arrives().await;
        }
        let (took, used) = (began.elapsed().as_secs_f64(), cpu(server.pid()) - used);
        let mut delays = std::mem::take(&mut self.board.lock().unwrap().delays);
        let deliveries = rational(delays.len());
        let values =
            [("a second", deliveries / took), ("a core's second", deliveries / used.as_secs_f64())];
        figure("fanout", &format!("{name}: deliveries in a group of 500"), "", &values, None);
        times("fanout", &format!("{name}: sent to delivered"), &mut delays, None);
        used.as_secs_f64() / deliveries
    }

    /// Open loop at a pace that leaves the machine idle between messages; gives how long each
    /// delivery took.
    async fn paced(&mut self) -> Vec<Duration> {
        let mut beat = tokio::time::interval(Duration::from_secs(1) / PACE);
        for _ in 0..PACED {
            beat.tick().await;
            self.say().await;
        }
        for _ in 0..PACED {
            self.arrives().await;
        }
        std::mem::take(&mut self.board.lock().unwrap().delays)
    }
}

impl Board {
    fn heard(&mut self, n: u64) {
        let Some((sent, missing)) = self.open.get_mut(&n) else { return };
        self.delays.push(sent.elapsed());
        *missing -= 1;
        if *missing == 0 {
            self.open.remove(&n);
            let _ = self.bell.send(()); // the bench is over when nobody listens
        }
    }
}

/// Notes what one member hears.
async fn listen(member: Arc<Member>, mut inbox: Inbox, board: Arc<Mutex<Board>>) {
    match &*member {
        Member::Socket(socket) => {
            while let Some(frame) = socket.hear(&mut inbox).await {
                assert!(!frame.contains("\"error\""), "{frame}");
                if let Some(n) = number(&frame, "\"client_id\":\"")
                    .filter(|_| frame.starts_with("{\"event\":\"message\""))
                {
                    board.lock().unwrap().heard(n);
                }
            }
        }
        Member::Xmpp(xmpp) => {
            let (mut rest, mut ids) = (Vec::new(), Vec::new());
            while xmpp.hear(&mut rest, &mut ids).await {
                let mut board = board.lock().unwrap();
                ids.drain(..).for_each(|n| board.heard(n));
            }
        }
    }
}
