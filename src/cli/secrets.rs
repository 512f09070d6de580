//! `securevox secrets`: creates a new vault key, and re-encrypts all secrets with it.

use base::random::RandomSource;
use clap::Subcommand;

use super::{CliError, block_on, print_line};
use crate::app;
use crate::config::Config;
use crate::domain::vault;

/// Operations on the keys.
#[derive(Subcommand)]
pub(super) enum SecretsCommand {
    /// Creates a key of the next version: adds it to the key file, or prints it if the keys are
    /// given in the settings. Running servers use it after a restart.
    Add,
    /// Re-encrypts every secret in the database with the newest key. May be interrupted and
    /// repeated, while servers run that know this key.
    Rotate,
}

/// Runs the operation.
pub(super) fn secrets(command: &SecretsCommand, config: &Config) -> Result<(), CliError> {
    match command {
        SecretsCommand::Add => add(config),
        SecretsCommand::Rotate => block_on(async {
            let domain = app::open(config).await?;
            let count = domain.vault.rotate(&domain.store).await?;
            print_line(&format!(
                "{count} values were re-encrypted with key {}",
                domain.vault.newest_version()
            ))
        }),
    }
}

fn add(config: &Config) -> Result<(), CliError> {
    let random = RandomSource::system();
    let vault = app::open_vault(config, &random)?;
    if let Some(file) = config.secrets.key_file(&config.node.data_dir) {
        let version = vault::add_key(&file, &random)?;
        print_line(&format!("key {version} was added to {}", file.display()))
    } else {
        print_line("put this first in secrets.keys, on every node:")?;
        print_line(vault::new_key(vault.newest_version() + 1, &random).expose())
    }
}
