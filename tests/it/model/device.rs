//! A device of a random history: what it has, and how it takes in what it is told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{Person, Socket};

/// What a device shows of a message: its text, whether it went, and who reacted with what.
pub type Face = (String, bool, BTreeSet<(String, String)>);
/// What a device shows: by conversation, by number.
pub type Screen = BTreeMap<String, BTreeMap<i64, Face>>;

/// A device: what it has, and how it takes in what it is told.
#[derive(Default)]
pub struct Device {
    pub socket: Option<Socket>,
    /// By conversation: the newest `seq`, the newest change, and messages with their revisions.
    has: BTreeMap<String, (i64, i64, Faces)>,
}

/// Messages by their number, each as of a revision.
type Faces = BTreeMap<i64, (i64, Face)>;

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub fn face(message: &Value) -> Face {
    let mut reactions = BTreeSet::new();
    for group in message["reactions"].as_array().into_iter().flatten() {
        for user in group["user_ids"].as_array().into_iter().flatten() {
            reactions.insert((text(&group["emoji"]), text(user)));
        }
    }
    (text(&message["body"]), message["deleted_at"].is_string(), reactions)
}

impl Device {
    pub async fn comes(&mut self, person: &Person) {
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
    pub async fn shows(&mut self, me: &Person, expected: &Screen) {
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
