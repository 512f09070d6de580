//! Throughput and latency of durable messages: 20 conversations, one message per request.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

#[expect(unreachable_pub, reason = "the benchmarks of the server share it")]
#[path = "../../../benches/support/figures.rs"]
mod figures;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};
use store::{
    Encryption, InvitationRule, Kind, NewAudit, NewConversationRow, NewMessageRow, NewUserRow,
    Role, Store, StoreConfig,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const CONVERSATIONS: usize = 20;
const SECONDS: Duration = Duration::from_secs(5);
/// Number of concurrent requests in the closed loop.
const IN_FLIGHT: usize = 128;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.unwrap().block_on(async {
        let path = std::env::temp_dir().join(format!("securevox-bench-{}", UserId::new()));
        std::fs::create_dir(&path).unwrap();
        let url = format!("sqlite:{}", path.join("store.db").display());
        measure("SQLite FULL", &url).await;
        std::fs::remove_dir_all(&path).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the environment names the server")]
        match std::env::var("SECUREVOX_TEST_POSTGRES") {
            Ok(url) => measure("PostgreSQL", &url).await,
            Err(_) => println!("PostgreSQL: SECUREVOX_TEST_POSTGRES is not set"),
        }
    });
}

/// Measures on the database at `url`; the data stays in it.
async fn measure(name: &str, url: &str) {
    let config = StoreConfig {
        queue_capacity: 100_000,
        deadline: Duration::from_secs(30),
        ..StoreConfig::new(url)
    };
    let store = Store::open(config).await.unwrap();
    let (user, rooms) = create_user_and_groups(&store).await;
    for rate in [100, 500] {
        report(name, &format!("{rate}/s"), paced(&store, user, &rooms, rate).await);
    }
    report(name, "closed loop", closed(&store, user, &rooms, 1).await);
    report(name, "closed loop, batches of 16", closed(&store, user, &rooms, 16).await);
}

async fn create_user_and_groups(store: &Store) -> (UserId, Arc<[ConversationId]>) {
    let audit = NewAudit {
        actor: None,
        action: "bench".into(),
        subject: String::new(),
        detail: serde_json::json!({}),
        ip: None,
    };
    let id = UserId::new();
    let (phone, name) = (id.to_string(), "Ann".to_owned());
    let user = NewUserRow { id, phone, name, role: Role::User, password_hash: String::new() };
    store.add_user(user, audit, NOW).await.unwrap();
    let mut rooms = Vec::new();
    for _ in 0..CONVERSATIONS {
        let new = NewConversationRow {
            id: ConversationId::new(),
            kind: Kind::Group,
            title: None,
            encryption: Encryption::None,
            created_by: id,
        };
        rooms.push(new.id);
        store.open_group(new, vec![], InvitationRule::Anyone, NOW).await.unwrap();
    }
    (id, rooms.into())
}

fn text_message(sender: UserId) -> NewMessageRow {
    let id = MessageId::new();
    let body = "a message of the usual length: a few words, a few more, and then the end of it";
    NewMessageRow {
        id,
        sender,
        client_id: id.to_string(),
        body: body.into(),
        reply_to: None,
        attachments: Vec::new(),
        mentions: Vec::new(),
        expires_in: None,
        forward_of: None,
    }
}

/// Latency of each message, and the total time.
type Outcome = (Vec<Duration>, Duration);

/// Sends at a steady rate; a message's latency counts from the time it was due.
async fn paced(store: &Store, user: UserId, rooms: &Arc<[ConversationId]>, rate: u32) -> Outcome {
    let (start, mut tasks, mut times) = (Instant::now(), JoinSet::new(), Vec::new());
    let count = rate * u32::try_from(SECONDS.as_secs()).unwrap();
    for n in 0..count {
        let due = start + Duration::from_secs(1) * n / rate;
        tokio::time::sleep_until(due).await;
        let (store, room) = (store.clone(), rooms[n as usize % rooms.len()]);
        tasks.spawn(async move {
            store.append_messages(room, vec![text_message(user)], NOW).await.unwrap();
            due.elapsed()
        });
    }
    while let Some(time) = tasks.join_next().await {
        times.push(time.unwrap());
    }
    (times, start.elapsed())
}

/// Sends a new request as soon as a result arrives.
async fn closed(
    store: &Store,
    user: UserId,
    rooms: &Arc<[ConversationId]>,
    batch: usize,
) -> Outcome {
    let (start, mut tasks) = (Instant::now(), JoinSet::new());
    let times = Arc::new(Mutex::new(Vec::new()));
    for n in 0..IN_FLIGHT {
        let (store, times, rooms) = (store.clone(), Arc::clone(&times), Arc::clone(rooms));
        tasks.spawn(async move {
            for k in (n..).step_by(7) {
                if start.elapsed() > SECONDS {
                    return;
                }
                let start_of_request = Instant::now();
                let new = (0..batch).map(|_| text_message(user)).collect();
                store.append_messages(rooms[k % rooms.len()], new, NOW).await.unwrap();
                let took = start_of_request.elapsed();
                times.lock().unwrap().extend((0..batch).map(|_| took));
            }
        });
    }
    tasks.join_all().await;
    let took = start.elapsed();
    let times = std::mem::take(&mut *times.lock().unwrap());
    (times, took)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(name: &str, load: &str, (mut times, took): Outcome) {
    let rate = times.len() as f64 / took.as_secs_f64();
    let what = format!("{name}, {load}");
    figures::figure("durable", &what, "messages/s", &[("", rate)], None);
    figures::times("durable", &what, &mut times, None);
}
