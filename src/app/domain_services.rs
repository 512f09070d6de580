//! The domain services: what the command line needs, and what the supervision tree is built on.

use std::sync::Arc;

use base::clock::Clock;
use base::random::RandomSource;
use store::Store;

use super::StartupError;
use super::cache::cache;
use crate::cluster::Cache;
use crate::config::{Config, SynchronousMode};
use crate::domain::accounts::{self, AccountService, PasswordHasher, TokenSigner};
use crate::domain::api_tokens::ApiTokenService;
use crate::domain::erasure::EraseAccountJob;
use crate::domain::export_store::ExportStore;
use crate::domain::exports::ExportService;
use crate::domain::files::FileService;
use crate::domain::jobs::{JobHandler, JobRunner};
use crate::domain::vault::{self, Vault};

/// The domain services, without any running actors: what the command line needs.
pub struct DomainServices {
    pub store: Store,
    /// Accounts, sign-in and passwords.
    pub accounts: AccountService,
    /// API tokens of machines.
    pub tokens: ApiTokenService,
    /// Seals and opens secrets in the database.
    pub vault: Vault,
    pub(super) clock: Clock,
    pub(super) entropy: RandomSource,
    pub(super) cache: Arc<dyn Cache>,
    pub(super) keys: TokenSigner,
}

/// Opens the database (after migrating it) and builds the domain services.
///
/// # Errors
/// [`StartupError`] with a message for the operator.
pub async fn open(config: &Config) -> Result<DomainServices, StartupError> {
    let (clock, entropy) = (Clock::wall(), RandomSource::system());
    let data = &config.node.data_dir;
    std::fs::create_dir_all(data).map_err(|error| {
        StartupError::Environment(format!(
            "node.data_dir {} cannot be created: {error}",
            data.display()
        ))
    })?;
    let store = Store::open(store_config(config)).await?;
    let cache = cache(config, &clock)?;
    let vault = open_vault(config, &entropy)?;
    let issuer = &config.http.public_url;
    let keys = TokenSigner::open(store.clone(), vault.clone(), clock.clone(), issuer).await?;
    let accounts = AccountService::new(accounts::AccountServiceDeps {
        store: store.clone(),
        cache: cache.clone(),
        keys: keys.clone(),
        vault: vault.clone(),
        passwords: PasswordHasher::start(&config.auth)?,
        clock: clock.clone(),
        entropy: entropy.clone(),
        config: config.auth.clone(),
        limits: config.limits.clone(),
    });
    let tokens = ApiTokenService::new(store.clone(), clock.clone(), entropy.clone());
    Ok(DomainServices { store, accounts, tokens, vault, clock, entropy, cache, keys })
}

/// Opens the vault with the keys of the settings or of the key file; in the data directory a key
/// file is created if there is none.
///
/// # Errors
/// If there is no key, or one cannot be read.
pub fn open_vault(config: &Config, entropy: &RandomSource) -> Result<Vault, vault::VaultError> {
    let secrets = &config.secrets;
    let keys = match secrets.key_file(&config.node.data_dir) {
        Some(file) => vault::read_keys(&file, secrets.key_file.as_os_str().is_empty(), entropy)?,
        None => secrets.keys.clone(),
    };
    Vault::new(&keys, entropy.clone())
}

/// The job runner and the export service, whose job is one of its handlers.
pub(super) fn jobs(
    config: &Config,
    domain: &DomainServices,
    files: &FileService,
) -> (JobRunner, ExportService) {
    let (store, clock) = (domain.store.clone(), domain.clock.clone());
    let export_store = ExportStore::new(config.node.data_dir.join("exports"));
    let export_ttl = config.auth.export_ttl();
    let exports = ExportService::new(
        store.clone(),
        clock.clone(),
        export_store.clone(),
        files.clone(),
        export_ttl,
    );
    let erasure = EraseAccountJob::new(store.clone(), clock.clone(), export_store, files.clone());
    let handlers: Vec<Arc<dyn JobHandler>> = vec![Arc::new(exports.clone()), Arc::new(erasure)];
    (JobRunner::new(store, clock, domain.entropy.clone(), handlers, &config.jobs), exports)
}

/// The store's configuration, from the settings.
pub fn store_config(config: &Config) -> store::StoreConfig {
    let location = config.database.location(&config.node.data_dir);
    let url = if config.database.url.is_empty() { format!("sqlite:{location}") } else { location };
    store::StoreConfig {
        url,
        connections: config.database.max_connections,
        readers: config.database.sqlite_read_connections,
        queue_capacity: config.database.queue_capacity,
        deadline: config.database.operation_timeout(),
        max_group_size: config.database.group_commit_max_jobs,
        synchronous: match config.database.synchronous {
            SynchronousMode::Full => store::SqliteSynchronous::Full,
            SynchronousMode::Normal => store::SqliteSynchronous::Normal,
        },
    }
}
