//! Appending, held against a model that fits on a page.

use std::collections::HashMap;

use base::ids::{ConversationId, UserId};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use store::{AppendOutcome, MessageRange, NewMessageRow, Store, StoreConfig};

use crate::harness::{Scratch, T0, elsewhere, group, people, setting, skip, sql, words};

/// Batches of (who, under which name, answering which earlier message); who 2 is no member.
type Story = Vec<Vec<(usize, u8, Option<usize>)>>;

fn stories() -> impl Strategy<Value = Story> {
    let message = (0usize..3, 0u8..12, proptest::option::weighted(0.2, 0usize..20));
    proptest::collection::vec(proptest::collection::vec(message, 0..6), 1..12)
}

/// What should become of a message.
#[derive(Debug, PartialEq)]
enum Fate {
    Stored(i64),
    Repeated(i64),
    NotAMember,
    NoSuchReply,
}

#[derive(Default)]
struct Model {
    said: HashMap<(usize, u8), i64>,
}

impl Model {
    fn append(&mut self, who: usize, name: u8, answers: Option<usize>) -> Fate {
        let last = i64::try_from(self.said.len()).unwrap();
        if who == 2 {
            Fate::NotAMember
        } else if let Some(seq) = self.said.get(&(who, name)) {
            Fate::Repeated(*seq)
        } else if answers.is_some_and(|n| n >= self.said.len()) {
            Fate::NoSuchReply
        } else {
            self.said.insert((who, name), last + 1);
            Fate::Stored(last + 1)
        }
    }
}

async fn tell(store: &Store, story: Story) {
    let people: [UserId; 3] = people(store).await;
    let id: ConversationId = group(store, &people[..2]).await;
    let (mut model, mut stored) = (Model::default(), Vec::new());
    for batch in story {
        let mut new: Vec<NewMessageRow> = Vec::new();
        let mut fates = Vec::new();
        let mut coming = stored.clone();
        for (who, name, answers) in batch {
            let fate = model.append(who, name, answers);
            let said = words(people[who], &name.to_string());
            let target = answers.map(|n| coming.get(n).copied().unwrap_or(said.id));
            if matches!(fate, Fate::Stored(_)) {
                coming.push(said.id);
            }
            new.push(NewMessageRow { reply_to: target, ..said });
            fates.push(fate);
        }
        let results = store.append(id, new, T0).await.unwrap().results;
        for result in &results {
            if let AppendOutcome::Stored(message) = result {
                stored.push(message.id);
            }
        }
        let came: Vec<Fate> = results
            .iter()
            .map(|result| match result {
                AppendOutcome::Stored(message) => Fate::Stored(message.seq),
                AppendOutcome::Repeated(message) => Fate::Repeated(message.seq),
                AppendOutcome::NotAMember => Fate::NotAMember,
                AppendOutcome::NoSuchReply => Fate::NoSuchReply,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(came, fates);
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

fn held_against_the_model(config: StoreConfig, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(Store::open(config)).unwrap();
    let mut runner = TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
    let outcome = runner.run(&stories(), |story| {
        runtime.block_on(tell(&store, story));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn sqlite_append_matches_model() {
    let scratch = Scratch::new();
    held_against_the_model(scratch.config(), 100);
}

#[test]
fn postgres_append_matches_model() {
    let Some(admin) = setting("SECUREVOX_TEST_POSTGRES") else {
        return skip("SECUREVOX_TEST_POSTGRES names no server");
    };
    let name = format!("story_{}", UserId::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(sql(&admin, &format!("CREATE DATABASE {name}")));
    held_against_the_model(StoreConfig::new(elsewhere(&admin, &name)), 50);
    runtime.block_on(sql(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")));
}
