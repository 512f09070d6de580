//! Whatever is asked for by whoever may not see it is refused as if it did not exist.

use awc::http::Method;
use serde_json::{Value, json};

use crate::files::attaches;
use crate::support::{Backend, Person, Socket, World, on_both_databases};
use crate::uploads::begins_an_upload;

on_both_databases! {
    inaccessible_objects_are_indistinguishable_from_unknown,
    shadow_blocked_message_is_unknown_to_blocker,
}

/// What can be asked for by its id.
#[derive(Clone)]
struct Objects {
    conversation: String,
    message: String,
    file: String,
    upload: String,
    invite: String,
    /// The token of the invite.
    link: String,
    person: String,
    call: String,
}

impl Objects {
    /// Nobody ever made these.
    fn made_up() -> Self {
        let id = |kind: &str| format!("{kind}_0190000000007000800000000000abcd");
        Self {
            conversation: id("cnv"),
            message: id("msg"),
            file: id("att"),
            upload: id("upl"),
            invite: id("inv"),
            link: "0".repeat(64),
            person: id("usr"),
            call: id("cal"),
        }
    }

    /// All of this person, in a group of theirs, but a call.
    async fn of(person: &Person, group: &str) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let jpeg = crate::files::picture(64, 64, image::ImageFormat::Jpeg);
        let file = text(&attaches(person, "a.jpg", "image/jpeg", &jpeg).await.created()["id"]);
        let messages = format!("/api/conversations/{group}/messages");
        let new = json!({ "client_id": "1", "body": "canary", "attachments": [file] });
        let message = text(&person.post(&messages, new).await.created()["id"]);
        let path = format!("{messages}/{message}");
        person.patch(&path, json!({ "body": "canary again" })).await.ok();
        person.put(&format!("{path}/reactions/{THUMB}"), json!(null)).await.ok();
        person.put(&format!("{path}/pin"), json!(null)).await.ok();
        let invites = format!("/api/conversations/{group}/invites");
        let invite = person.post(&invites, json!({})).await.created();
        let upload = begins_an_upload(person, b"half").await;
        Self {
            conversation: group.to_owned(),
            message,
            file,
            upload: upload.rsplit('/').next().expect("an id").to_owned(),
            invite: text(&invite["id"]),
            link: text(&invite["token"]),
            person: person.id.clone(),
            ..Self::made_up()
        }
    }

    /// A call of this person in their group, which goes on as long as the socket is there.
    async fn calls(&mut self, person: &Person) -> Socket {
        let mut socket = person.connects().await;
        let start = json!({ "conversation_id": self.conversation, "media": "audio" });
        let call = socket.asks("start_call", start).await.expect("they may");
        self.call = call["call_id"].as_str().expect("an id").to_owned();
        socket.asks("join_call", json!({ "call_id": self.call })).await.expect("they may");
        socket
    }
}

const THUMB: &str = "%F0%9F%91%8D";

/// Every question over HTTP that names one of them; `own` is a group of whoever asks.
fn questions(of: &Objects, own: &str) -> Vec<(Method, String, Value)> {
    let Objects { conversation, message, file, upload, invite, person, .. } = of;
    let (group, nothing) = (format!("/api/conversations/{conversation}"), || json!(null));
    let (get, put, delete) = (|| Method::GET, || Method::PUT, || Method::DELETE);
    let (post, patch) = (|| Method::POST, || Method::PATCH);
    let one = format!("{group}/messages/{message}");
    let say = |field: &str, value: Value| json!({ "client_id": field, "body": "x", field: value });
    let mine = format!("/api/conversations/{own}/messages");
    vec![
        (get(), group.clone(), nothing()),
        (patch(), group.clone(), json!({ "title": "taken" })),
        (patch(), format!("{group}/me"), json!({ "archived": true })),
        (put(), format!("{group}/members/{person}"), nothing()),
        (delete(), format!("{group}/members/{person}"), nothing()),
        (get(), format!("{group}/messages"), nothing()),
        (post(), format!("{group}/messages"), json!({ "client_id": "x", "body": "x" })),
        (get(), one.clone(), nothing()),
        (patch(), one.clone(), json!({ "body": "x" })),
        (get(), format!("{one}/edits"), nothing()),
        (put(), format!("{one}/reactions/{THUMB}"), nothing()),
        (delete(), format!("{one}/reactions/{THUMB}"), nothing()),
        (put(), format!("{one}/pin"), nothing()),
        (delete(), format!("{one}/pin"), nothing()),
        (delete(), one.clone(), nothing()),
        (delete(), format!("{one}?for=all"), nothing()),
        (get(), format!("{group}/pins"), nothing()),
        (get(), format!("/api/search?q=canary&conversation_id={conversation}"), nothing()),
        (get(), format!("{group}/invites"), nothing()),
        (post(), format!("{group}/invites"), json!({})),
        (delete(), format!("{group}/invites/{invite}"), nothing()),
        (get(), format!("/api/attachments/{file}"), nothing()),
        (get(), format!("/api/attachments/{file}/thumbnail"), nothing()),
        (get(), format!("/api/uploads/{upload}"), nothing()),
        (patch(), format!("/api/uploads/{upload}"), nothing()),
        (delete(), format!("/api/uploads/{upload}"), nothing()),
        (post(), mine.clone(), say("reply_to", json!(message))),
        (post(), mine.clone(), say("attachments", json!([file]))),
        (post(), mine.clone(), json!({ "client_id": "f", "body": "", "forward_of": message })),
        (post(), mine, say("mentions", json!([person]))),
        (get(), format!("/api/admin/users/{person}"), nothing()),
        (get(), format!("/api/admin/users/{person}/devices"), nothing()),
    ]
}

/// Every request over a socket that names one of them.
fn events(of: &Objects) -> Vec<(&'static str, Value)> {
    let Objects { conversation, call, .. } = of;
    let at = json!({ "conversation_id": conversation, "seq": 1 });
    let said = json!({ "conversation_id": conversation, "client_id": "x", "body": "x" });
    let this = json!({ "call_id": call });
    vec![
        ("send_message", said),
        ("ack", at.clone()),
        ("read", at),
        ("typing", json!({ "conversation_id": conversation })),
        ("start_call", json!({ "conversation_id": conversation, "media": "audio" })),
        ("join_call", this.clone()),
        ("accept_call", this.clone()),
        ("decline_call", this.clone()),
        ("cancel_call", this),
    ]
}

/// What is answered, without what is different each time.
async fn over_http(who: &Person, of: &Objects, own: &str) -> Vec<(String, u16, Value)> {
    let mut answers = Vec::new();
    for (method, path, body) in questions(of, own) {
        let bearer = format!("Bearer {}", who.access);
        let mut headers = vec![("authorization", bearer.as_str())];
        if path.starts_with("/api/uploads/") {
            headers.extend([("tus-resumable", "1.0.0"), ("upload-offset", "0")]);
            headers.push(("content-type", "application/offset+octet-stream"));
        }
        let bytes = (!body.is_null()).then(|| body.to_string().into_bytes());
        let mut answer = who.sends(method.clone(), &path, &headers, bytes).await;
        if let Some(problem) = answer.body.as_object_mut() {
            problem.remove("request_id");
        }
        answers.push((format!("{method} {path}"), answer.status, answer.body));
    }
    answers
}

async fn over_a_socket(who: &Person, of: &Objects) -> Vec<(String, u16, Value)> {
    let mut socket = who.connects().await;
    let mut answers = Vec::new();
    for (event, data) in events(of) {
        let mut problem = match socket.asks(event, data).await {
            Err(problem) => problem,
            Ok(done) => panic!("{event} was done: {done}"),
        };
        problem.as_object_mut().expect("a problem").remove("request_id");
        let status = problem["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        answers.push((event.to_owned(), status.expect("a status"), problem));
    }
    answers
}

/// Both are refused, and alike.
fn alike(who: &str, real: &[(String, u16, Value)], made_up: &[(String, u16, Value)]) {
    assert_eq!(real.len(), made_up.len());
    for ((question, status, body), (_, expected, guess)) in real.iter().zip(made_up) {
        assert!((400..500).contains(status), "{who}: {question} is answered {status} {body}");
        assert_eq!((status, body), (expected, guess), "{who}: {question}");
    }
}

async fn inaccessible_objects_are_indistinguishable_from_unknown(backend: Backend) {
    let world = World::new(backend).await;
    let admin = world.admin().await;
    let alice = world.person("Alice").await;
    let mut others = Vec::new();
    for name in ["a stranger", "one who left", "one put out", "one blocked", "one suspended"] {
        let person = world.person(name).await;
        let own = world.group(&[&person]).await;
        others.push((person, own));
    }
    let [(stranger, _), (left, _), (out, _), (blocked, _), (suspended, _)] = &others[..] else {
        unreachable!("there are five")
    };
    let bob = world.person("Bob").await;
    let group = world.group(&[&alice, &bob, left, out, blocked, suspended]).await;
    let mut real = Objects::of(&alice, &group).await;
    let member = |person: &Person| format!("/api/conversations/{group}/members/{}", person.id);
    left.delete(&member(left)).await.done();
    alice.delete(&member(out)).await.done();
    alice.delete(&member(blocked)).await.done();
    alice.put(&format!("/api/contacts/{}/block", blocked.id), json!(null)).await.done();
    admin.put(&format!("/api/admin/users/{}/suspension", suspended.id), json!(null)).await.done();
    let _stays = real.calls(&alice).await;
    let before = alice.reads(&group).await;

    for (person, own) in &others[..4] {
        let made_up = over_http(person, &Objects::made_up(), own).await;
        let expected = |(question, status, _): &(String, u16, Value)| {
            let right = *status == 404 || (*status == 403 && question.contains("/api/admin/"));
            assert!(right, "{question} is answered {status}");
        };
        made_up.iter().for_each(expected);
        alike(&person.name, &over_http(person, &real, own).await, &made_up);
        let made_up = over_a_socket(person, &Objects::made_up()).await;
        alike(&person.name, &over_a_socket(person, &real).await, &made_up);
        let found = person.get("/api/search?q=canary").await.ok();
        assert_eq!(found["items"], json!([]), "{}", person.name);
        let exported = crate::erasure::export(person).await;
        assert!(!String::from_utf8_lossy(&exported).contains(&real.message), "{}", person.name);
    }
    // The link itself is for whoever has it, but not for one whom its maker blocks.
    let link = |of: &Objects| format!("/api/invites/{}", of.link);
    for of in [&real, &Objects::made_up()] {
        blocked.post(&link(of), json!(null)).await.refused(404, "chat/invite-not-found");
    }
    let (person, own) = &others[4];
    for of in [&real, &Objects::made_up()] {
        for (question, status, body) in over_http(person, of, own).await {
            assert_eq!((status, &body["code"]), (401, &json!("auth/invalid-token")), "{question}");
        }
    }
    assert_eq!(alice.reads(&group).await, before, "nothing was changed");
    stranger.get("/api/me").await.ok();
}

async fn shadow_blocked_message_is_unknown_to_blocker(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let own = world.group(&[&bob]).await;
    alice.says(&conversation, "before", "seen").await.created();
    bob.put(&format!("/api/contacts/{}/block", alice.id), json!(null)).await.done();
    let file = attaches(&alice, "a.txt", "text/plain", b"canary").await.created();
    let file = file["id"].as_str().unwrap();
    let said = crate::files::shows(&alice, &conversation, "1", &[file]).await.created();
    let kept = Objects {
        conversation: conversation.clone(),
        message: said["id"].as_str().unwrap().to_owned(),
        file: file.to_owned(),
        ..Objects::made_up()
    };
    let made_up = Objects { conversation: conversation.clone(), ..Objects::made_up() };
    let about_it = |answers: Vec<(String, u16, Value)>, of: &Objects| {
        let (message, file) = (of.message.clone(), of.file.clone());
        let named =
            move |question: &String| question.contains(&message) || question.contains(&file);
        let said = |question: &String| question.contains(&own) && question.starts_with("POST");
        answers
            .into_iter()
            .filter(|(question, ..)| named(question) || said(question))
            .collect::<Vec<_>>()
    };

    let guessed = about_it(over_http(&bob, &made_up, &own).await, &made_up);
    let asked = about_it(over_http(&bob, &kept, &own).await, &kept);
    assert!(guessed.len() > 10, "{guessed:?}");
    alike("whoever blocks", &asked, &guessed);
    assert_eq!(bob.get("/api/search?q=canary").await.ok()["items"], json!([]));
    let seen = bob.reads(&conversation).await;
    assert_eq!((seen.len(), &seen[0]["body"]), (1, &json!("seen")));
    alice.get(&format!("/api/conversations/{conversation}/messages/{}", kept.message)).await.ok();
}
