//! Appending messages, compared with a small model.

use std::collections::HashMap;

use base::ids::{ConversationId, UserId};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use store::{AppendOutcome, MessageRange, NewMessageRow, Store, StoreConfig};

use crate::harness::{
    Scratch, T0, create_users, env_var, group, skip, sql, text_message, with_database,
};

/// Batches of (sender, client id, earlier message replied to); sender 2 is not a member.
type Batches = Vec<Vec<(usize, u8, Option<usize>)>>;

fn batches_strategy() -> impl Strategy<Value = Batches> {
    let message = (0usize..3, 0u8..12, proptest::option::weighted(0.2, 0usize..20));
    proptest::collection::vec(proptest::collection::vec(message, 0..6), 1..12)
}

/// Expected outcome of a message.
#[derive(Debug, PartialEq)]
enum Expected {
    Stored(i64),
    Duplicate(i64),
    NotAMember,
    ReplyTargetNotFound,
}

#[derive(Default)]
struct Model {
    seqs: HashMap<(usize, u8), i64>,
}

impl Model {
    fn append(&mut self, sender: usize, client_id: u8, reply_to: Option<usize>) -> Expected {
        let last = i64::try_from(self.seqs.len()).unwrap();
        if sender == 2 {
            Expected::NotAMember
        } else if let Some(seq) = self.seqs.get(&(sender, client_id)) {
            Expected::Duplicate(*seq)
        } else if reply_to.is_some_and(|n| n >= self.seqs.len()) {
            Expected::ReplyTargetNotFound
        } else {
            self.seqs.insert((sender, client_id), last + 1);
            Expected::Stored(last + 1)
        }
    }
}

async fn check_batches(store: &Store, batches: Batches) {
    let people: [UserId; 3] = create_users(store).await;
    let id: ConversationId = group(store, &people[..2]).await;
    let (mut model, mut stored) = (Model::default(), Vec::new());
    for batch in batches {
        let mut new: Vec<NewMessageRow> = Vec::new();
        let mut expected = Vec::new();
        let mut ids = stored.clone();
        for (sender, client_id, reply_to) in batch {
            let outcome = model.append(sender, client_id, reply_to);
            let message = text_message(people[sender], &client_id.to_string());
            let target = reply_to.map(|n| ids.get(n).copied().unwrap_or(message.id));
            if matches!(outcome, Expected::Stored(_)) {
                ids.push(message.id);
            }
            new.push(NewMessageRow { reply_to: target, ..message });
            expected.push(outcome);
        }
        let results = store.append_messages(id, new, T0).await.unwrap().results;
        for result in &results {
            if let AppendOutcome::Stored(message) = result {
                stored.push(message.id);
            }
        }
        let outcomes: Vec<Expected> = results
            .iter()
            .map(|result| match result {
                AppendOutcome::Stored(message) => Expected::Stored(message.seq),
                AppendOutcome::Duplicate(message) => Expected::Duplicate(message.seq),
                AppendOutcome::NotAMember => Expected::NotAMember,
                AppendOutcome::ReplyTargetNotFound => Expected::ReplyTargetNotFound,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(outcomes, expected);
    }
    let seen =
        store.messages(id, people[0], MessageRange::After(0), 1000, T0).await.unwrap().unwrap();
    let seen: Vec<_> = seen.into_iter().map(|shown| shown.message).collect();
    assert_eq!(seen.iter().map(|message| message.id).collect::<Vec<_>>(), stored);
    let view = store.conversation(id, people[1]).await.unwrap().unwrap();
    assert_eq!(view.conversation.last_seq, i64::try_from(stored.len()).unwrap());
    let newest = seen.iter().rfind(|message| message.sender_id == people[1]);
    assert_eq!(view.members[1].read_seq, newest.map_or(0, |message| message.seq));
}

fn compare_with_model(config: StoreConfig, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(Store::open(config)).unwrap();
    let mut runner = TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
    let outcome = runner.run(&batches_strategy(), |batches| {
        runtime.block_on(check_batches(&store, batches));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn sqlite_append_matches_model() {
    let scratch = Scratch::new();
    compare_with_model(scratch.config(), 100);
}

#[test]
fn postgres_append_matches_model() {
    let Some(admin) = env_var("SECUREVOX_TEST_POSTGRES") else {
        return skip("SECUREVOX_TEST_POSTGRES names no server");
    };
    let name = format!("test_{}", UserId::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(sql(&admin, &format!("CREATE DATABASE {name}")));
    compare_with_model(StoreConfig::new(with_database(&admin, &name)), 50);
    runtime.block_on(sql(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")));
}
