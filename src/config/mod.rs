//! Settings in layers: the built-in `config.toml`, its profile, your file, the environment.
//!
//! There are no defaults in code: `config.toml` is the default *and* the manual, so the manual
//! cannot lie. Unknown keys are refused, so a typo cannot hide.

mod auth;
mod calls;
mod chat;
mod check;
mod cluster;
mod database;
mod files;
mod http;
mod jobs;
mod limits;
mod media;
mod node;
mod secrets;
mod sessions;
mod storage;
mod supervision;
mod telemetry;
mod turn;

pub use self::media::Media;
pub use auth::{Auth, Leavings, Registration};
pub use calls::{Calls, Openers};
pub use chat::{Chat, Reach};
pub use cluster::Cluster;
pub use database::{Database, Synchronous};
pub use files::Files;
pub use http::{Http, Network};
pub use jobs::Jobs;
pub use limits::Limits;
pub use node::Node;
pub use secrets::Secrets;
pub use sessions::Sessions;
pub use storage::{Storage, StorageKind};
pub use supervision::Supervision;
pub use telemetry::{Format, Telemetry};
pub use turn::{Embedded, Turn};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// The lowest layer.
pub const DEFAULTS: &str = include_str!("../../config.toml");
/// What the environment's settings begin with: `SECUREVOX__SECTION__KEY`.
pub const PREFIX: &str = "SECUREVOX__";

/// All settings, checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which profile was laid over the defaults.
    pub profile: String,
    /// The process itself.
    pub node: Node,
    /// The listener.
    pub http: Http,
    /// What seals secrets in the database.
    pub secrets: Secrets,
    /// Accounts and their tokens.
    pub auth: Auth,
    /// How often is too often.
    pub limits: Limits,
    /// Where things are kept.
    pub database: Database,
    /// What nodes share.
    pub cluster: Cluster,
    /// Sockets and what lives behind them.
    pub sessions: Sessions,
    /// Conversations.
    pub chat: Chat,
    /// Files that people send.
    pub files: Files,
    /// Where the bytes of files are kept.
    pub storage: Storage,
    /// Who calls whom, and for how long.
    pub calls: Calls,
    /// What forwards media.
    pub media: Media,
    /// What relays media for those who cannot be reached.
    pub turn: Turn,
    /// Work that must be done.
    pub jobs: Jobs,
    /// When an actor counts as stuck.
    pub supervision: Supervision,
    /// Logs.
    pub telemetry: Telemetry,
}

/// Why the settings cannot be used, in words for whoever wrote them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer is not TOML.
    #[error("{layer} is not valid TOML: {reason}")]
    Syntax {
        /// Which layer.
        layer: &'static str,
        /// What the parser said, with its line.
        reason: String,
    },
    /// A key that does not exist, or a value of the wrong kind.
    #[error("the settings do not fit: {0}")]
    Shape(String),
    /// A profile that `config.toml` does not have.
    #[error("there is no profile `{0}`: choose development, staging or production")]
    Profile(String),
    /// Values that contradict each other or the world.
    #[error("{0}")]
    Check(String),
}

/// Lays the layers over each other; `file` is the text of your own file, `env` usually the
/// environment of the process.
///
/// # Errors
/// [`Error`] says which layer and which key.
pub fn load(file: &str, env: impl IntoIterator<Item = (String, String)>) -> Result<Config, Error> {
    let mut settings = parse(DEFAULTS, "the built-in config.toml")?;
    let own = parse(file, "your file")?;
    let env: Vec<_> = env
        .into_iter()
        .filter_map(|(name, text)| Some((name.strip_prefix(PREFIX)?.to_lowercase(), text)))
        .collect();

    let profile = env
        .iter()
        .find(|(path, _)| path == "profile")
        .map(|(_, text)| text.as_str())
        .or_else(|| own.get("profile").and_then(Value::as_str))
        .or_else(|| settings.get("profile").and_then(Value::as_str))
        .unwrap_or_default()
        .to_owned();
    let Some(Value::Table(mut profiles)) = settings.remove("profiles") else {
        return Err(Error::Profile(profile));
    };
    let Some(Value::Table(overlay)) = profiles.remove(&profile) else {
        return Err(Error::Profile(profile));
    };
    lay_over(&mut settings, overlay);
    lay_over(&mut settings, own);
    for (path, text) in env {
        lay_over(&mut settings, branch(&path, &text));
    }
    let config: Config = serde_path_to_error::deserialize(settings)
        .map_err(|e| Error::Shape(format!("{}: {}", e.path(), e.inner().message())))?;
    check::check(&config).map_err(Error::Check)?;
    Ok(config)
}

fn parse(text: &str, layer: &'static str) -> Result<Table, Error> {
    text.parse().map_err(|e: toml::de::Error| Error::Syntax { layer, reason: e.to_string() })
}

/// `top` wins, key by key; tables merge.
fn lay_over(base: &mut Table, top: Table) {
    for (key, value) in top {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// `http__bind` and its text, as the table `{ http = { bind = … } }`. Text that reads as a TOML
/// value is one; anything else is a string.
fn branch(path: &str, text: &str) -> Table {
    let value = format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
    let mut keys = path.rsplit("__");
    let mut table = Table::new();
    if let Some(leaf) = keys.next() {
        table.insert(leaf.to_owned(), value.unwrap_or_else(|| Value::String(text.to_owned())));
    }
    keys.fold(table, |inner, key| Table::from_iter([(key.to_owned(), Value::Table(inner))]))
}
