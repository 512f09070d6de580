//! Where a story takes place: a database of its own, and people to act in it.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{ConversationId, DeviceId, MessageId, UserId};
use store::{
    AddUserOutcome, AppendOutcome, Encryption, InvitationRule, Kind, NewAudit, NewConversationRow,
    NewDeviceRow, NewMessageRow, NewRefresh, NewUserRow, OpenGroup, Role, Store, StoreConfig,
    UserRow,
};
use tokio_postgres::NoTls;

/// Tells each story on both databases.
macro_rules! on_both {
    ($($story:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                crate::harness::on_sqlite(super::$story).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                crate::harness::on_postgres(super::$story).await;
            })+
        }
    };
}
pub(crate) use on_both;

/// When all stories begin.
pub(crate) const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// So many seconds later.
pub(crate) fn at(seconds: u64) -> Timestamp {
    T0 + Duration::from_secs(seconds)
}

/// Where the servers are, and whether all stories must be told.
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Says that a story is not told, unless all must be.
#[expect(clippy::print_stdout, reason = "a story that is not told must not look as if it were")]
pub(crate) fn skip(why: &str) {
    assert!(setting("SECUREVOX_TEST_ALL").is_none(), "{why}, and SECUREVOX_TEST_ALL is set");
    println!("ignored: {why}");
}

/// A directory that goes when the story ends.
pub(crate) struct Scratch(pub(crate) std::path::PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("securevox-store-{}", UserId::new()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn config(&self) -> StoreConfig {
        StoreConfig::new(format!("sqlite:{}", self.0.join("store.db").display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Parallel stories queue far more than a server would let them.
fn patient(config: StoreConfig) -> StoreConfig {
    StoreConfig { deadline: Duration::from_secs(60), queue: 10_000, ..config }
}

pub(crate) async fn on_sqlite<F: Future<Output = ()>>(story: impl FnOnce(Store) -> F) {
    let scratch = Scratch::new();
    story(Store::open(patient(scratch.config())).await.unwrap()).await;
}

pub(crate) async fn on_postgres<F: Future<Output = ()>>(story: impl FnOnce(Store) -> F) {
    on_postgres_at(|store, _| story(store)).await;
}

/// The story hears where its database is.
pub(crate) async fn on_postgres_at<F: Future<Output = ()>>(story: impl FnOnce(Store, String) -> F) {
    let Some(admin) = setting("SECUREVOX_TEST_POSTGRES") else {
        return skip("SECUREVOX_TEST_POSTGRES names no server");
    };
    let name = format!("story_{}", UserId::new());
    sql(&admin, &format!("CREATE DATABASE {name}")).await;
    let url = elsewhere(&admin, &name);
    story(Store::open(patient(StoreConfig::new(url.clone()))).await.unwrap(), url).await;
    sql(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// The same server, another database.
pub(crate) fn elsewhere(url: &str, database: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, ""), |(base, query)| (base, query));
    let (server, _) = base.rsplit_once('/').unwrap();
    format!("{server}/{database}?{query}")
}

pub(crate) async fn sql(url: &str, text: &str) {
    let (client, wire) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let mut drive = std::pin::pin!(wire);
    tokio::select! {
        done = client.batch_execute(text) => done.unwrap(),
        _ = &mut drive => panic!("the connection ended"),
    }
}

pub(crate) fn audit(action: &str) -> NewAudit {
    NewAudit {
        actor: None,
        action: action.into(),
        subject: "somebody".into(),
        detail: serde_json::json!({"n": [1, 2.5, null]}),
        ip: Some("192.0.2.1".into()),
    }
}

pub(crate) fn person(name: &str, phone: &str) -> NewUserRow {
    NewUserRow {
        id: UserId::new(),
        phone: phone.into(),
        name: name.into(),
        role: Role::User,
        password_hash: "$argon2id$…".into(),
    }
}

pub(crate) fn device(user: UserId) -> NewDeviceRow {
    NewDeviceRow {
        id: DeviceId::new(),
        user_id: user,
        name: "Phone".into(),
        platform: "ios".into(),
        user_agent: None,
    }
}

pub(crate) fn hash(n: u8) -> [u8; 32] {
    [n; 32]
}

pub(crate) fn refresh(n: u8, expires_at: Timestamp) -> NewRefresh {
    NewRefresh { hash: hash(n), expires_at, ip: None }
}

/// A hash like no other.
pub(crate) fn any_hash() -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(UserId::new().uuid().as_bytes());
    hash
}

/// Somebody who exists.
pub(crate) async fn somebody(store: &Store, name: &str) -> UserRow {
    let phone = format!("+{}", UserId::new().uuid().as_u128());
    match store.add_user(person(name, &phone), audit("user.added"), T0).await.unwrap() {
        AddUserOutcome::Done(user) => user,
        AddUserOutcome::PhoneTaken => panic!("a number taken twice"),
    }
}

pub(crate) async fn people<const N: usize>(store: &Store) -> [UserId; N] {
    let mut ids = [UserId::from_uuid(T_NIL); N];
    for (n, id) in ids.iter_mut().enumerate() {
        *id = somebody(store, &format!("Person {n}")).await.id;
    }
    ids
}

const T_NIL: uuid::Uuid = uuid::Uuid::nil();

pub(crate) fn opening(kind: Kind, by: UserId) -> NewConversationRow {
    NewConversationRow {
        id: ConversationId::new(),
        kind,
        title: (kind == Kind::Group).then(|| "Friends".into()),
        encryption: Encryption::None,
        created_by: by,
    }
}

/// A group whose owner is the first.
pub(crate) async fn group(store: &Store, people: &[UserId]) -> ConversationId {
    let new = opening(Kind::Group, people[0]);
    let opened =
        store.open_group(new, people[1..].to_vec(), InvitationRule::Anybody, T0).await.unwrap();
    match opened {
        OpenGroup::Created(view) => view.conversation.id,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn words(sender: UserId, client_id: &str) -> NewMessageRow {
    NewMessageRow {
        id: MessageId::new(),
        sender,
        client_id: client_id.into(),
        body: format!("Grüße, {client_id} \"'; --"),
        reply_to: None,
        attachments: vec![],
        mentions: Vec::new(),
        expires_in: None,
        forward_of: None,
    }
}

/// Says one thing and tells what became of it.
pub(crate) async fn say(
    store: &Store,
    id: ConversationId,
    message: NewMessageRow,
) -> AppendOutcome {
    store.append(id, vec![message], at(1)).await.unwrap().results.remove(0)
}
