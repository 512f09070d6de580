//! Test harness: a database for each test, and users to act in it.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{ConversationId, DeviceId, MessageId, UserId};
use store::{
    AddUserOutcome, AppendOutcome, Encryption, InvitationRule, Kind, NewAudit, NewConversationRow,
    NewDeviceRow, NewMessageRow, NewRefresh, NewUserRow, OpenGroup, Role, Store, StoreConfig,
    UserRow,
};
use tokio_postgres::NoTls;

/// Runs each test on both databases.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::harness::on_sqlite(super::$test).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::harness::on_postgres(super::$test).await;
            })+
        }
    };
}
pub(crate) use on_both;

/// Time at which all tests start.
pub(crate) const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// `seconds` after [`T0`].
pub(crate) fn at(seconds: u64) -> Timestamp {
    T0 + Duration::from_secs(seconds)
}

/// An environment variable: the servers to use, and whether skipping is forbidden.
pub(crate) fn env_var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reports a test as skipped; panics if `SECUREVOX_TEST_ALL` is set.
#[expect(clippy::print_stdout, reason = "a skipped test must not look as if it had passed")]
pub(crate) fn skip(reason: &str) {
    assert!(env_var("SECUREVOX_TEST_ALL").is_none(), "{reason}, and SECUREVOX_TEST_ALL is set");
    println!("ignored: {reason}");
}

/// A directory that is removed when the test ends.
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

/// Parallel tests queue far more than a server would accept.
fn with_long_timeout(config: StoreConfig) -> StoreConfig {
    StoreConfig { deadline: Duration::from_secs(60), queue_capacity: 10_000, ..config }
}

pub(crate) async fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Store) -> F) {
    let scratch = Scratch::new();
    test(Store::open(with_long_timeout(scratch.config())).await.unwrap()).await;
}

pub(crate) async fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Store) -> F) {
    on_postgres_at(|store, _| test(store)).await;
}

/// The test gets the URL of its database.
pub(crate) async fn on_postgres_at<F: Future<Output = ()>>(test: impl FnOnce(Store, String) -> F) {
    let Some(admin) = env_var("SECUREVOX_TEST_POSTGRES") else {
        return skip("SECUREVOX_TEST_POSTGRES names no server");
    };
    let name = format!("test_{}", UserId::new());
    sql(&admin, &format!("CREATE DATABASE {name}")).await;
    let url = with_database(&admin, &name);
    test(Store::open(with_long_timeout(StoreConfig::new(url.clone()))).await.unwrap(), url).await;
    sql(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

/// The URL of another database on the same server.
pub(crate) fn with_database(url: &str, database: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, ""), |(base, query)| (base, query));
    let (server, _) = base.rsplit_once('/').unwrap();
    format!("{server}/{database}?{query}")
}

pub(crate) async fn sql(url: &str, text: &str) {
    let (client, io) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let mut connection = std::pin::pin!(io);
    tokio::select! {
        result = client.batch_execute(text) => result.unwrap(),
        _ = &mut connection => panic!("the connection ended"),
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

pub(crate) fn new_user(name: &str, phone: &str) -> NewUserRow {
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

/// A unique hash.
pub(crate) fn any_hash() -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(UserId::new().uuid().as_bytes());
    hash
}

/// Creates a user.
pub(crate) async fn create_user(store: &Store, name: &str) -> UserRow {
    let phone = format!("+{}", UserId::new().uuid().as_u128());
    match store.add_user(new_user(name, &phone), audit("user.added"), T0).await.unwrap() {
        AddUserOutcome::Done(user) => user,
        AddUserOutcome::PhoneTaken => panic!("the phone number is taken"),
    }
}

pub(crate) async fn create_users<const N: usize>(store: &Store) -> [UserId; N] {
    let mut ids = [UserId::from_uuid(NIL); N];
    for (n, id) in ids.iter_mut().enumerate() {
        *id = create_user(store, &format!("Person {n}")).await.id;
    }
    ids
}

const NIL: uuid::Uuid = uuid::Uuid::nil();

pub(crate) fn new_conversation(kind: Kind, by: UserId) -> NewConversationRow {
    NewConversationRow {
        id: ConversationId::new(),
        kind,
        title: (kind == Kind::Group).then(|| "Friends".into()),
        encryption: Encryption::None,
        created_by: by,
    }
}

/// Creates a group; its owner is the first user.
pub(crate) async fn group(store: &Store, people: &[UserId]) -> ConversationId {
    let new = new_conversation(Kind::Group, people[0]);
    let opened =
        store.open_group(new, people[1..].to_vec(), InvitationRule::Anyone, T0).await.unwrap();
    match opened {
        OpenGroup::Created(view) => view.conversation.id,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn text_message(sender: UserId, client_id: &str) -> NewMessageRow {
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

/// Sends one message and returns its outcome.
pub(crate) async fn send(
    store: &Store,
    id: ConversationId,
    message: NewMessageRow,
) -> AppendOutcome {
    store.append_messages(id, vec![message], at(1)).await.unwrap().results.remove(0)
}
