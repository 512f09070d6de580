//! The database goes away and comes back; everybody hears in time, and nobody has to do anything.

use std::time::Duration;

use base::ids::{ConversationId, UserId};
use store::{AppendOutcome, MessageRange, Store, StoreConfig, StoreError};

use crate::harness::{T0, group, people, say, words};
use crate::server::{Server, timed};

/// No answer may take longer.
const SOON: Duration = Duration::from_secs(2);

struct Chat {
    store: Store,
    ann: UserId,
    id: ConversationId,
    said: usize,
}

impl Chat {
    async fn open(server: &Server) -> Self {
        let store = Store::open(StoreConfig::new(server.url())).await.unwrap();
        let [ann, bob] = people(&store).await;
        let id = group(&store, &[ann, bob]).await;
        let mut chat = Self { store, ann, id, said: 0 };
        // All connections have been used once.
        for outcome in chat.speak(30).await {
            outcome.unwrap();
        }
        chat
    }

    /// So many say something at once; each hears in time what became of it.
    async fn speak(&mut self, count: usize) -> Vec<Result<(), StoreError>> {
        let says: Vec<_> = (0..count)
            .map(|n| {
                let (store, id) = (self.store.clone(), self.id);
                let new = words(self.ann, &format!("{}", self.said + n));
                tokio::task::spawn(async move {
                    timed(store.append(id, vec![new], crate::harness::T0)).await
                })
            })
            .collect();
        self.said += count;
        let mut outcomes = Vec::new();
        for said in says {
            let (outcome, took) = said.await.unwrap();
            assert!(took < SOON, "{outcome:?} took {took:?}");
            outcomes.push(outcome.map(drop));
        }
        outcomes
    }

    /// Nobody gets through, and everybody is told why.
    async fn is_silent(&mut self) {
        for outcome in self.speak(20).await {
            assert!(
                matches!(outcome, Err(StoreError::Unavailable(_) | StoreError::Deadline)),
                "{outcome:?}"
            );
        }
    }

    /// Without help, and soon.
    async fn recovers(&mut self) {
        for _ in 0..30 {
            if self.speak(1).await[0].is_ok() {
                assert!(self.speak(30).await.iter().all(Result::is_ok));
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it did not recover");
    }

    /// The numbers have no holes, whatever was lost.
    async fn is_whole(&self) {
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
        chat.is_silent().await;
    }
    server.begin();

    chat.recovers().await;
    chat.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn store_recovers_after_database_hangs() {
    let Some(server) = Server::start(&[]) else { return };
    let mut chat = Chat::open(&server).await;
    server.signal("STOP");
    for _ in 0..3 {
        chat.is_silent().await;
    }
    server.signal("CONT");

    chat.recovers().await;
    chat.is_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn database_restart_between_queries_is_transparent() {
    let Some(mut server) = Server::start(&[]) else { return };
    let mut chat = Chat::open(&server).await;
    server.restart();

    assert!(chat.speak(30).await.iter().all(Result::is_ok));
    chat.store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_row_lock_wait_is_bounded() {
    let Some(server) = Server::start(&[]) else { return };
    let mut chat = Chat::open(&server).await;
    let (holder, wire) =
        tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    let wire = tokio::task::spawn(wire);
    holder.batch_execute("BEGIN; SELECT 1 FROM conversations FOR UPDATE").await.unwrap();
    for outcome in chat.speak(3).await {
        assert!(
            matches!(outcome, Err(StoreError::Unavailable(_) | StoreError::Deadline)),
            "{outcome:?}"
        );
    }
    holder.batch_execute("ROLLBACK").await.unwrap();

    assert!(matches!(
        say(&chat.store, chat.id, words(chat.ann, "x")).await,
        AppendOutcome::Stored(_)
    ));
    drop(holder);
    wire.await.unwrap().unwrap();
}
