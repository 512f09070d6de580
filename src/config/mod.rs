//! Settings in layers: the built-in `config.toml`, its profile, the operator's file, the
//! environment.
//!
//! There are no defaults in code: `config.toml` is both the defaults and the manual, so they cannot
//! diverge. Unknown keys are rejected, so typing errors are detected.

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
use serde::{Deserialize, Serialize};
pub use sessions::SessionsConfig;
pub use storage::{StorageConfig, StorageKind};
pub use supervision::SupervisionConfig;
pub use telemetry::{LogFormat, TelemetryConfig};
use toml::{Table, Value};
pub use turn::{EmbeddedTurnMode, TurnConfig};

pub use self::media::MediaConfig;

/// The lowest layer: the built-in `config.toml`.
pub const DEFAULTS: &str = include_str!("../../config.toml");
/// Prefix of settings in the environment: `SECUREVOX__SECTION__KEY`.
pub const ENV_PREFIX: &str = "SECUREVOX__";

/// All settings, merged and validated.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the profile that was applied to the defaults.
    pub profile: String,
    pub node: NodeConfig,
    pub http: HttpConfig,
    /// Keys that seal secrets in the database.
    pub secrets: SecretsConfig,
    pub auth: AuthConfig,
    pub limits: RateLimitsConfig,
    pub database: DatabaseConfig,
    /// Services that nodes share.
    pub cluster: ClusterConfig,
    pub sessions: SessionsConfig,
    pub chat: ChatConfig,
    /// Attachments and uploads.
    pub files: FilesConfig,
    /// Where the content of files is stored.
    pub storage: StorageConfig,
    pub calls: CallsConfig,
    /// The SFU.
    pub media: MediaConfig,
    /// The TURN server.
    pub turn: TurnConfig,
    /// Background jobs.
    pub jobs: JobsConfig,
    /// The watchdog of the supervision tree.
    pub supervision: SupervisionConfig,
    /// Logs and metrics.
    pub telemetry: TelemetryConfig,
}

/// Why the settings cannot be used, as messages for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A layer is not valid TOML.
    #[error("{layer} is not valid TOML: {reason}")]
    Syntax {
        /// Name of the layer.
        layer: &'static str,
        /// The parser's message, with the line.
        reason: String,
    },
    /// An unknown key, or a value of the wrong type.
    #[error("invalid setting: {0}")]
    InvalidValue(String),
    /// A profile that `config.toml` does not define.
    #[error("unknown profile `{0}`: choose development, staging or production")]
    UnknownProfile(String),
    /// Values that contradict each other or exceed their range.
    #[error("{0}")]
    Inconsistent(String),
}

/// Merges the layers; `file` is the text of the operator's file, `env` usually the environment of
/// the process.
///
/// # Errors
/// [`ConfigError`] names the layer and the key.
pub fn load(
    file: &str,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut settings = parse(DEFAULTS, "the built-in config.toml")?;
    let operator_settings = parse(file, "your file")?;
    let env: Vec<_> = env
        .into_iter()
        .filter_map(|(name, text)| Some((name.strip_prefix(ENV_PREFIX)?.to_lowercase(), text)))
        .collect();

    let profile = env
        .iter()
        .find(|(path, _)| path == "profile")
        .map(|(_, text)| text.as_str())
        .or_else(|| operator_settings.get("profile").and_then(Value::as_str))
        .or_else(|| settings.get("profile").and_then(Value::as_str))
        .unwrap_or_default()
        .to_owned();
    let Some(Value::Table(mut profiles)) = settings.remove("profiles") else {
        return Err(ConfigError::UnknownProfile(profile));
    };
    let Some(Value::Table(overlay)) = profiles.remove(&profile) else {
        return Err(ConfigError::UnknownProfile(profile));
    };
    merge(&mut settings, overlay);
    merge(&mut settings, operator_settings);
    for (path, text) in env {
        merge(&mut settings, env_table(&path, &text));
    }
    let config: Config = serde_path_to_error::deserialize(settings)
        .map_err(|e| ConfigError::InvalidValue(format!("{}: {}", e.path(), e.inner().message())))?;
    check::check(&config).map_err(ConfigError::Inconsistent)?;
    Ok(config)
}

fn parse(text: &str, layer: &'static str) -> Result<Table, ConfigError> {
    text.parse().map_err(|e: toml::de::Error| ConfigError::Syntax { layer, reason: e.to_string() })
}

/// Merges `overlay` into `base`: the overlay wins, key by key, and tables are merged.
fn merge(base: &mut Table, overlay: Table) {
    for (key, value) in overlay {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner_base)), Value::Table(inner_overlay)) => {
                merge(inner_base, inner_overlay)
            }
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Converts `http__bind` and its text to the table `{ http = { bind = … } }`. Text that parses as a
/// TOML value is one; anything else is a string.
fn env_table(path: &str, text: &str) -> Table {
    let value = format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
    let mut keys = path.rsplit("__");
    let mut table = Table::new();
    if let Some(leaf) = keys.next() {
        table.insert(leaf.to_owned(), value.unwrap_or_else(|| Value::String(text.to_owned())));
    }
    keys.fold(table, |inner, key| Table::from_iter([(key.to_owned(), Value::Table(inner))]))
}
