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

pub use self::media::MediaConfig;
pub use auth::{AuthConfig, DeletedMessagePolicy, RegistrationPolicy};
pub use calls::{CallsConfig, SessionCreationPolicy};
pub use chat::{ChatConfig, ContactRequirement};
pub use cluster::ClusterConfig;
pub use database::{DatabaseConfig, SynchronousMode};
pub use files::FilesConfig;
pub use http::{HttpConfig, Network};
pub use jobs::JobsConfig;
pub use limits::RateLimitsConfig;
pub use node::NodeConfig;
pub use secrets::SecretsConfig;
pub use sessions::SessionsConfig;
pub use storage::{StorageConfig, StorageKind};
pub use supervision::SupervisionConfig;
pub use telemetry::{LogFormat, TelemetryConfig};
pub use turn::{EmbeddedTurnMode, TurnConfig};

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
    pub node: NodeConfig,
    /// The listener.
    pub http: HttpConfig,
    /// What seals secrets in the database.
    pub secrets: SecretsConfig,
    /// Accounts and their tokens.
    pub auth: AuthConfig,
    /// How often is too often.
    pub limits: RateLimitsConfig,
    /// Where things are kept.
    pub database: DatabaseConfig,
    /// What nodes share.
    pub cluster: ClusterConfig,
    /// Sockets and what lives behind them.
    pub sessions: SessionsConfig,
    /// Conversations.
    pub chat: ChatConfig,
    /// Files that people send.
    pub files: FilesConfig,
    /// Where the bytes of files are kept.
    pub storage: StorageConfig,
    /// Who calls whom, and for how long.
    pub calls: CallsConfig,
    /// What forwards media.
    pub media: MediaConfig,
    /// What relays media for those who cannot be reached.
    pub turn: TurnConfig,
    /// Work that must be done.
    pub jobs: JobsConfig,
    /// When an actor counts as stuck.
    pub supervision: SupervisionConfig,
    /// Logs.
    pub telemetry: TelemetryConfig,
}

/// Why the settings cannot be used, in words for whoever wrote them.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
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
/// [`ConfigError`] says which layer and which key.
pub fn load(
    file: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
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
        return Err(ConfigError::Profile(profile));
    };
    let Some(Value::Table(overlay)) = profiles.remove(&profile) else {
        return Err(ConfigError::Profile(profile));
    };
    lay_over(&mut settings, overlay);
    lay_over(&mut settings, own);
    for (path, text) in env {
        lay_over(&mut settings, branch(&path, &text));
    }
    let config: Config = serde_path_to_error::deserialize(settings)
        .map_err(|e| ConfigError::Shape(format!("{}: {}", e.path(), e.inner().message())))?;
    check::check(&config).map_err(ConfigError::Check)?;
    Ok(config)
}

fn parse(text: &str, layer: &'static str) -> Result<Table, ConfigError> {
    text.parse().map_err(|e: toml::de::Error| ConfigError::Syntax { layer, reason: e.to_string() })
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
