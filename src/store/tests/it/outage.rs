//! The database fails and comes back; every caller is told in time, and no intervention is needed.

use std::time::Duration;

use base::ids::{ConversationId, UserId};
use store::{AppendOutcome, MessageRange, Store, StoreConfig, StoreError};

use crate::harness::{T0, create_users, group, send, text_message};
use crate::server::{Server, timed};

/// No result may take longer than this.
const MAX_LATENCY: Duration = Duration::from_secs(2);

struct Chat {
    store: Store,
    ann: UserId,
    id: ConversationId,
    sent: usize,
}

impl Chat {
    async fn open(server: &Server) -> Self {
        let store = Store::open(StoreConfig::new(server.url())).await.unwrap();
        let [ann, bob] = create_users(&store).await;
        let id = group(&store, &[ann, bob]).await;
        let mut chat = Self { store, ann, id, sent: 0 };
        // Use every connection once.
        for outcome in chat.send_many(30).await {
            outcome.unwrap();
        }
        chat
    }

    /// Sends `count` messages at once; each gets its result in time.
    async fn send_many(&mut self, count: usize) -> Vec<Result<(), StoreError>> {
        let sends: Vec<_> = (0..count)
            .map(|n| {
                let (store, id) = (self.store.clone(), self.id);
                let new = text_message(self.ann, &format!("{}", self.sent + n));
                tokio::task::spawn(async move {
                    timed(store.append_messages(id, vec![new], crate::harness::T0)).await
                })
            })
            .collect();
        self.sent += count;
        let mut outcomes = Vec::new();
        for send in sends {
            let (outcome, took) = send.await.unwrap();
            assert!(took < MAX_LATENCY, "{outcome:?} took {took:?}");
            outcomes.push(outcome.map(drop));
        }
        outcomes
    }

    /// No operation succeeds, and every caller gets an error.
    async fn assert_unavailable(&mut self) {
        for outcome in self.send_many(20).await {
            assert!(
                matches!(outcome, Err(StoreError::Unavailable(_) | StoreError::Deadline)),
                "{outcome:?}"
            );
        }
    }

    /// Operations succeed again soon, without intervention.
    async fn wait_until_recovered(&mut self) {
        for _ in 0..30 {
            if self.send_many(1).await[0].is_ok() {
                assert!(self.send_many(30).await.iter().all(Result::is_ok));
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the store did not recover");
    }

    /// The stored sequence numbers have no gaps, whatever was lost.
    async fn assert_no_gaps(&self) {
        let seen = self
            .store
            .messages(self.id, self.ann, MessageRange::After(0), 10_000, T0)
            .await
            .unwrap();
        let numbers: Vec<_> = seen.unwrap().iter().map(|message| message.message.seq).collect();
        assert_eq!(numbers, (1..=i64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn store_recovers_after_database_is_killed() {
    let Some(mut server) = Server::start(&[]) else { return };
    let mut chat = Chat::open(&server).await;
    server.kill();
    for _ in 0..3 {
        chat.assert_unavailable().await;
    }
    server.begin();

    chat.wait_until_recovered().await;
    chat.assert_no_gaps().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn store_recovers_after_database_hangs() {
    let Some(server) = Server::start(&[]) else { return };
    let mut chat = Chat::open(&server).await;
    server.signal("STOP");
    for _ in 0..3 {
        chat.assert_unavailable().await;
    }
    server.signal("CONT");

    chat.wait_until_recovered().await;
    chat.assert_no_gaps().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn database_restart_between_queries_is_transparent() {
    let Some(mut server) = Server::start(&[]) else { return };
    let mut chat = Chat::open(&server).await;
    server.restart();

    assert!(chat.send_many(30).await.iter().all(Result::is_ok));
    chat.store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_row_lock_wait_is_bounded() {
    let Some(server) = Server::start(&[]) else { return };
    let mut chat = Chat::open(&server).await;
    let (holder, connection) =
        tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::task::spawn(connection);
    holder.batch_execute("BEGIN; SELECT 1 FROM conversations FOR UPDATE").await.unwrap();
    for outcome in chat.send_many(3).await {
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_) | StoreError::Deadline)),
            "{outcome:?}"
        );
    }
    holder.batch_execute("ROLLBACK").await.unwrap();

    assert!(matches!(
        send(&chat.store, chat.id, text_message(chat.ann, "x")).await,
        AppendOutcome::Stored(_)
    ));
    drop(holder);
    connection.await.unwrap().unwrap();
}
