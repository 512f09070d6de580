//! Random histories on three devices, held against a model that fits on a page: what each device
//! shows after `sync` is what the model says.

mod device;

use std::collections::{BTreeMap, BTreeSet};

use actix_web::rt::{System, SystemRunner};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use self::device::{Device, Face, Screen, face, text};
use crate::support::{Backend, Person, World, postgres, soon};

/// What one of three people does; numbers pick what exists by then.
#[derive(Clone, Debug)]
enum Step {
    Say { who: usize, direct: bool },
    Edit { who: usize, which: usize },
    React { who: usize, which: usize, emoji: usize, on: bool },
    Delete { who: usize, which: usize, all: bool },
    Move { who: usize, into: bool },
    Block { who: usize, on: bool },
    Come { who: usize },
    Go { who: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (who, which) = (|| 0usize..3, || 0usize..30);
    let step = prop_oneof![
        4 => (who(), any::<bool>()).prop_map(|(who, direct)| Step::Say { who, direct }),
        3 => (who(), which()).prop_map(|(who, which)| Step::Edit { who, which }),
        3 => (who(), which(), 0usize..3, prop::bool::weighted(0.7)).prop_map(
            |(who, which, emoji, on)| Step::React { who, which, emoji, on }
        ),
        2 => (who(), which(), any::<bool>())
            .prop_map(|(who, which, all)| Step::Delete { who, which, all }),
        1 => (1usize..3, any::<bool>()).prop_map(|(who, into)| Step::Move { who, into }),
        1 => (0usize..2, any::<bool>()).prop_map(|(who, on)| Step::Block { who, on }),
        3 => who().prop_map(|who| Step::Come { who }),
        2 => who().prop_map(|who| Step::Go { who }),
    ];
    prop::collection::vec(step, 1..40)
}

const EMOJI: [&str; 3] = ["👍", "🦄", "☃"];

/// A message as the model knows it.
#[derive(Debug)]
struct Said {
    conversation: String,
    id: String,
    seq: i64,
    sender: usize,
    face: Face,
    hidden_from: BTreeSet<usize>,
    /// Who blocked its sender then.
    withheld: Option<usize>,
}

impl Said {
    fn is_hidden_from(&self, who: usize) -> bool {
        self.hidden_from.contains(&who) || self.withheld == Some(who)
    }
}

/// What is true.
struct Model {
    said: Vec<Said>,
    /// In each conversation, after which number each of the three sees something.
    since: BTreeMap<String, [Option<i64>; 3]>,
    blocks: [bool; 2],
}

impl Model {
    /// Whether what is done to a message only looks done: one of two blocks the other.
    fn is_for_show(&self, n: usize, direct: &str) -> bool {
        let said = &self.said[n];
        self.blocks.contains(&true) && said.conversation == direct && said.withheld.is_none()
    }

    fn screen(&self, who: usize) -> Screen {
        let mut screen = Screen::new();
        for (conversation, since) in &self.since {
            let Some(since) = since[who] else { continue };
            let seen = self.said.iter().filter(|said| said.conversation == *conversation);
            let seen = seen.filter(|s| s.seq > since && !s.is_hidden_from(who));
            screen.insert(
                conversation.clone(),
                seen.map(|said| (said.seq, said.face.clone())).collect(),
            );
        }
        screen
    }
}

struct Scene<'a> {
    people: Vec<Person>,
    group: String,
    direct: String,
    model: Model,
    devices: [Device; 3],
    world: &'a World,
    count: usize,
}

impl<'a> Scene<'a> {
    async fn new(world: &'a World) -> Self {
        let (ann, bob, direct) = world.two_friends().await;
        let people = vec![ann, bob, world.person("Eve").await];
        let group = world.group(&people.iter().collect::<Vec<_>>()).await;
        let since = BTreeMap::from([
            (group.clone(), [Some(0); 3]),
            (direct.clone(), [Some(0), Some(0), None]),
        ]);
        let model = Model { said: Vec::new(), since, blocks: [false; 2] };
        let devices = [Device::default(), Device::default(), Device::default()];
        Self { people, group, direct, model, devices, world, count: 0 }
    }

    fn note(&mut self, sender: usize, message: &Value, withheld: Option<usize>) {
        self.model.said.push(Said {
            conversation: text(&message["conversation_id"]),
            id: text(&message["id"]),
            seq: message["seq"].as_i64().unwrap(),
            sender,
            face: face(message),
            hidden_from: BTreeSet::new(),
            withheld,
        });
    }

    /// Notes what was said of a change of members, which is the newest message of the group.
    async fn note_system(&mut self, sender: usize) {
        let path = format!("/api/conversations/{}/messages?limit=1", self.group);
        let page = self.people[0].get(&path).await.ok();
        self.note(sender, &page["items"][0].clone(), None);
    }

    /// A message that exists and what is asked of it, if there is one that `who` may see.
    fn pick(&self, who: usize, which: usize) -> Option<(usize, String)> {
        let n = which.checked_rem(self.model.said.len())?;
        let said = &self.model.said[n];
        let since = self.model.since[&said.conversation][who]?;
        let seen = said.seq > since && !said.is_hidden_from(who);
        seen.then(|| (n, format!("/api/conversations/{}/messages/{}", said.conversation, said.id)))
    }

    async fn step(&mut self, step: Step) {
        self.count += 1;
        match step {
            Step::Say { who, direct } => {
                let id = if direct { self.direct.clone() } else { self.group.clone() };
                let name = self.count.to_string();
                let answer = self.people[who].says(&id, &name, &format!("text {name}")).await;
                if answer.status == 201 {
                    let other = 1usize.saturating_sub(who);
                    let withheld = direct && self.model.blocks[other];
                    self.note(who, &answer.body, withheld.then_some(other));
                }
            }
            Step::Edit { who, which } => {
                let Some((n, path)) = self.pick(who, which) else { return };
                let body = format!("edit {}", self.count);
                let answer = self.people[who].patch(&path, json!({ "body": body })).await;
                if answer.status == 200 && !self.model.is_for_show(n, &self.direct) {
                    self.model.said[n].face = face(&answer.body);
                }
            }
            Step::React { who, which, emoji, on } => {
                let Some((n, path)) = self.pick(who, which) else { return };
                let hex: String = EMOJI[emoji].bytes().map(|b| format!("%{b:02X}")).collect();
                let path = format!("{path}/reactions/{hex}");
                let person = &self.people[who];
                let answer = if on {
                    person.put(&path, json!(null)).await
                } else {
                    person.delete(&path).await
                };
                if answer.status == 200 {
                    let reaction = (EMOJI[emoji].to_owned(), person.id.clone());
                    let for_show = self.model.is_for_show(n, &self.direct);
                    let reactions = &mut self.model.said[n].face.2;
                    match (for_show, on) {
                        (true, _) => false,
                        (false, true) => reactions.insert(reaction),
                        (false, false) => reactions.remove(&reaction),
                    };
                }
            }
            Step::Delete { who, which, all } => {
                let Some((n, path)) = self.pick(who, which) else { return };
                let whose = if all { "all" } else { "me" };
                let answer = self.people[who].delete(&format!("{path}?for={whose}")).await;
                let said = &mut self.model.said[n];
                if answer.status == 204 && all {
                    said.face = (String::new(), true, BTreeSet::new());
                } else if answer.status == 204 {
                    said.hidden_from.insert(who);
                }
                if all && answer.status == 403 {
                    assert!(said.sender != who || said.face.0.is_empty(), "one's own goes");
                }
            }
            Step::Move { who, into } => {
                let member =
                    format!("/api/conversations/{}/members/{}", self.group, self.people[who].id);
                let present = self.model.since[&self.group][who].is_some();
                if into == present {
                    return;
                }
                let last = self.model.said.iter().filter(|s| s.conversation == self.group);
                let last = last.map(|said| said.seq).max().unwrap_or(0);
                if into {
                    if self.people[0].put(&member, json!(null)).await.status != 200 {
                        return; // one of the two blocks the other
                    }
                    self.note_system(0).await;
                } else {
                    self.people[who].delete(&member).await.done();
                    self.note_system(who).await;
                }
                self.model.since.get_mut(&self.group).unwrap()[who] = into.then_some(last);
            }
            Step::Block { who, on } => {
                let path = format!("/api/contacts/{}/block", self.people[1 - who].id);
                if on {
                    self.people[who].put(&path, json!(null)).await.done();
                } else if self.model.blocks[who] {
                    self.people[who].delete(&path).await.done();
                }
                self.model.blocks[who] = on;
            }
            Step::Come { who } => self.devices[who].comes(&self.people[who]).await,
            Step::Go { who } => {
                if let Some(socket) = self.devices[who].socket.take() {
                    socket.vanishes();
                }
            }
        }
    }

    async fn ends_well(mut self) {
        for who in 0..3 {
            let expected = self.model.screen(who);
            self.devices[who].comes(&self.people[who]).await;
            self.devices[who].shows(&self.people[who], &expected).await;
        }
        // Nothing that was on its way says otherwise.
        let last = self.people[0].says(&self.group, "last", "the last word").await.created();
        self.note(0, &last, None);
        for who in 0..3 {
            let expected = self.model.screen(who);
            self.devices[who].shows(&self.people[who], &expected).await;
        }
        assert!(self.world.pid() > 0);
    }
}

fn shows_what_the_model_says(system: &SystemRunner, backend: Backend, cases: u32) {
    let world = system.block_on(World::new(backend));
    let config = ProptestConfig { cases, max_shrink_iters: 60, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&steps(), |story| {
        system.block_on(async {
            let mut scene = Scene::new(&world).await;
            for step in story {
                soon("a step", scene.step(step)).await;
            }
            soon("the end", scene.ends_well()).await;
        });
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn device_state_matches_model() {
    shows_what_the_model_says(&System::new(), Backend::Sqlite, 32);
}

#[test]
fn device_state_matches_model_on_postgres() {
    let system = System::new();
    if let Some(backend) = system.block_on(postgres::fresh()) {
        shows_what_the_model_says(&system, backend, 12);
    }
}
