//! Random histories on three devices, held against a model that fits on a page: what each device
//! shows after `sync` is what the model says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{Backend, Person, Socket, World, soon};

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

/// What a device shows of a message: its text, whether it went, and who reacted with what.
type Face = (String, bool, BTreeSet<(String, String)>);
/// What a device shows: by conversation, by number.
type Screen = BTreeMap<String, BTreeMap<i64, Face>>;

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

/// A device: what it has, and how it takes in what it is told.
#[derive(Default)]
struct Device {
    socket: Option<Socket>,
    /// By conversation: the newest `seq`, the newest change, and messages with their revisions.
    has: BTreeMap<String, (i64, i64, Faces)>,
}

/// Messages by their number, each as of a revision.
type Faces = BTreeMap<i64, (i64, Face)>;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn face(message: &Value) -> Face {
    let mut reactions = BTreeSet::new();
    for group in message["reactions"].as_array().into_iter().flatten() {
        for user in group["user_ids"].as_array().into_iter().flatten() {
            reactions.insert((text(&group["emoji"]), text(user)));
        }
    }
    (text(&message["body"]), message["deleted_at"].is_string(), reactions)
}

impl Device {
    async fn comes(&mut self, person: &Person) {
        if self.socket.is_some() {
            return;
        }
        let mut socket = person.connects().await;
        let cursors: BTreeMap<_, _> = self.has.iter().map(|(id, has)| (id, has.0)).collect();
        let changes: BTreeMap<_, _> = self.has.iter().map(|(id, has)| (id, has.1)).collect();
        let asked = json!({ "cursors": cursors, "changes": changes });
        let synced = socket.asks("sync", asked).await.unwrap();
        let mut listed = BTreeSet::new();
        for summary in synced["conversations"].as_array().unwrap() {
            let id = text(&summary["id"]);
            let revision = summary["revision"].as_i64().unwrap();
            let has = self.has.entry(id.clone()).or_insert((0, revision, BTreeMap::new()));
            let since = summary["visible_seq"].as_i64().unwrap();
            has.2.retain(|seq, _| *seq > since);
            listed.insert(id);
        }
        self.has.retain(|id, _| listed.contains(id));
        self.socket = Some(socket);
    }

    fn takes(&mut self, event: &str, data: &Value) {
        let id = text(&data["conversation_id"]);
        let (seq, revision) = (data["seq"].as_i64(), data["revision"].as_i64());
        if event == "conversation" {
            let id = text(&data["id"]);
            if data["left"].is_string() {
                return; // told apart below, by who it is
            }
            let revision = data["revision"].as_i64().unwrap();
            self.has.entry(id).or_insert((0, revision, BTreeMap::new()));
            return;
        }
        let (Some(seq), Some(revision)) = (seq, revision) else { return };
        let has = self.has.entry(id).or_insert((0, 0, BTreeMap::new()));
        let known = has.2.get(&seq).map_or(-1, |(known, _)| *known);
        match event {
            "message" => {
                has.0 = has.0.max(seq);
                if revision >= known {
                    has.2.insert(seq, (revision, face(data)));
                }
                return;
            }
            _ if known < 0 || revision <= known => {}
            "message_edited" => {
                has.2.insert(seq, (revision, face(data)));
            }
            "message_deleted" if data["for"] == "me" => {
                has.2.remove(&seq);
            }
            "message_deleted" => {
                has.2.insert(seq, (revision, (String::new(), true, BTreeSet::new())));
            }
            "reaction" => {
                let reaction = (text(&data["emoji"]), text(&data["user_id"]));
                let entry = has.2.get_mut(&seq).unwrap();
                entry.0 = revision;
                if data["added"] == true {
                    entry.1.2.insert(reaction);
                } else {
                    entry.1.2.remove(&reaction);
                }
            }
            _ => return,
        }
        has.1 = has.1.max(revision);
    }

    fn screen(&self) -> Screen {
        let shown = |has: &Faces| has.iter().map(|(seq, (_, face))| (*seq, face.clone())).collect();
        self.has.iter().map(|(id, has)| (id.clone(), shown(&has.2))).collect()
    }

    /// Takes in what it is told until it shows what it should.
    async fn shows(&mut self, me: &Person, expected: &Screen) {
        let told = async {
            while self.screen() != *expected {
                let frame = self.socket.as_mut().unwrap().next().await.unwrap();
                let (event, data) = (text(&frame["event"]), &frame["data"]);
                if event == "conversation" && data["left"] == json!(me.id) {
                    self.has.remove(&text(&data["id"]));
                }
                self.takes(&event, data);
            }
        };
        let patience = std::time::Duration::from_secs(5);
        if tokio::time::timeout(patience, told).await.is_err() {
            panic!("{} shows {:#?}\nand not {expected:#?}", me.name, self.screen());
        }
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
                if answer.status == 200 {
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
                    let blocked = self.model.blocks.contains(&true)
                        && self.model.said[n].conversation == self.direct
                        && self.model.said[n].withheld.is_none();
                    let reactions = &mut self.model.said[n].face.2;
                    match (blocked, on) {
                        (true, _) => false, // done for show
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

#[test]
fn what_each_device_shows_is_what_the_model_says() {
    let system = actix_web::rt::System::new();
    let world = system.block_on(World::new(Backend::Sqlite));
    let config = ProptestConfig { cases: 32, max_shrink_iters: 60, ..ProptestConfig::default() };
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
