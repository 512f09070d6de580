//! The deeds: what the command line needs of the service, and what the living side is built on.

use std::sync::Arc;

use base::clock::Clock;
use base::random::RandomSource;
use store::Store;

use super::StartupError;
use super::cluster_services::cache;
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

/// The deeds, without anything that lives: what the command line needs.
pub struct DomainServices {
    /// Where things are kept.
    pub store: Store,
    /// Deeds of accounts.
    pub accounts: AccountService,
    /// Deeds of API tokens.
    pub tokens: ApiTokenService,
    /// What seals secrets.
    pub vault: Vault,
    pub(super) clock: Clock,
    pub(super) entropy: RandomSource,
    pub(super) cache: Arc<dyn Cache>,
    pub(super) keys: TokenSigner,
}

/// Opens the database (and migrates it) and puts the deeds together.
///
/// # Errors
/// [`StartupError`], in words.
pub async fn open(config: &Config) -> Result<DomainServices, StartupError> {
    let (clock, entropy) = (Clock::wall(), RandomSource::system());
    let data = &config.node.data_dir;
    std::fs::create_dir_all(data).map_err(|error| {
        StartupError::Outside(format!("node.data_dir {} cannot be made: {error}", data.display()))
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

/// The keys of the settings, or of their file; in the data directory one is made if need be.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn open_vault(config: &Config, entropy: &RandomSource) -> Result<Vault, vault::VaultError> {
    let secrets = &config.secrets;
    let keys = match secrets.key_file(&config.node.data_dir) {
        Some(file) => vault::read_keys(&file, secrets.key_file.as_os_str().is_empty(), entropy)?,
        None => secrets.keys.clone(),
    };
    Vault::new(&keys, entropy.clone())
}

/// Work that must be done, and the exports that are part of it.
pub(super) fn jobs(
    config: &Config,
    deeds: &DomainServices,
    files: &FileService,
) -> (JobRunner, ExportService) {
    let (store, clock) = (deeds.store.clone(), deeds.clock.clone());
    let shelf = ExportStore::new(config.node.data_dir.join("exports"));
    let kept = config.auth.export();
    let exports =
        ExportService::new(store.clone(), clock.clone(), shelf.clone(), files.clone(), kept);
    let erasure = EraseAccountJob::new(store.clone(), clock.clone(), shelf, files.clone());
    let works: Vec<Arc<dyn JobHandler>> = vec![Arc::new(exports.clone()), Arc::new(erasure)];
    (JobRunner::new(store, clock, deeds.entropy.clone(), works, &config.jobs), exports)
}

/// The store's settings, from ours.
pub fn store_config(config: &Config) -> store::StoreConfig {
    let location = config.database.location(&config.node.data_dir);
    let url = if config.database.url.is_empty() { format!("sqlite:{location}") } else { location };
    store::StoreConfig {
        url,
        connections: config.database.max_connections,
        readers: config.database.sqlite_read_connections,
        queue: config.database.queue_capacity,
        deadline: config.database.deadline(),
        group: config.database.group_commit_max_jobs,
        synchronous: match config.database.synchronous {
            SynchronousMode::Full => store::SqliteSynchronous::Full,
            SynchronousMode::Normal => store::SqliteSynchronous::Normal,
        },
    }
}
