//! `securevox secrets`: a new key for the vault, and everything sealed anew with it.

use base::random::RandomSource;
use clap::Subcommand;

use super::{CliError, block_on, say};
use crate::app;
use crate::config::Config;
use crate::domain::vault;

/// What can be done with the keys.
#[derive(Subcommand)]
pub(super) enum SecretsCommand {
    /// Makes a key of the next version: adds it to the file with the keys, or prints it where they
    /// are settings. Running servers know it once they are started again.
    Add,
    /// Seals every secret in the database anew with the newest key. May be interrupted and repeated,
    /// while servers run that know this key.
    Rotate,
}

/// Does it.
pub(super) fn secrets(command: &SecretsCommand, config: &Config) -> Result<(), CliError> {
    match command {
        SecretsCommand::Add => add(config),
        SecretsCommand::Rotate => block_on(async {
            let deeds = app::open(config).await?;
            let count = deeds.vault.rotate(&deeds.store).await?;
            say(&format!(
                "{count} values were sealed anew with key {}",
                deeds.vault.newest_version()
            ))
        }),
    }
}

fn add(config: &Config) -> Result<(), CliError> {
    let chance = RandomSource::system();
    let vault = app::open_vault(config, &chance)?;
    if let Some(file) = config.secrets.key_file(&config.node.data_dir) {
        let version = vault::add_key(&file, &chance)?;
        say(&format!("key {version} was added to {}", file.display()))
    } else {
        say("put this first among secrets.keys, on every node:")?;
        say(vault::new_key(vault.newest_version() + 1, &chance).expose())
    }
}
