//! The command line: every operator's deed, in words.

mod bench;
mod doctor;
mod nodes;
mod remote;
mod secrets;
mod serve;
mod tree;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use base::secret::Secret;
use clap::{Parser, Subcommand};

use crate::app;
use crate::config::{self, Config};
use crate::protocol::admin::CreateApiToken;

/// A group's own secure communication service.
#[derive(Parser)]
#[command(name = "securevox", version, about)]
struct Arguments {
    /// Your settings, laid over the built-in config.toml.
    #[arg(long, global = true, env = "SECUREVOX_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Runs the server until it is told to stop.
    Serve,
    /// Brings the database up to date, and ends.
    Migrate,
    /// Looks at the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Says what is wrong here and how to mend it.
    Doctor,
    /// People.
    #[command(subcommand)]
    User(UserCommand),
    /// API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// The keys of access tokens.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The keys that seal secrets in the database.
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Shows the supervision tree of a running server, live.
    Tree(tree::TreeArgs),
    /// Lists the nodes of the cluster.
    Nodes(nodes::NodesArgs),
    /// Has a node hand over what it has and leave, and waits until it has.
    Drain(nodes::DrainArgs),
    /// Measures a server under load.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Checks all layers and prints the outcome.
    Check,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Makes an account; the password is asked for, or read from standard input.
    Add {
        /// As dialled from abroad: +49…
        phone: String,
        /// How others see the person.
        name: String,
        /// user, admin or operator.
        #[arg(long, default_value = "user")]
        role: store::Role,
    },
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Makes an API token and prints its secret, once.
    Add {
        /// What it is for.
        name: String,
        /// What it may do; may be given several times.
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// After how many days it ends.
        #[arg(long)]
        days: Option<u32>,
    },
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Makes a new signing key; tokens of the old one work until they end.
    Rotate,
}

/// Why a command did not do its work: the words, and the exit code.
struct CliError(String, u8);

impl<E: std::error::Error> From<E> for CliError {
    fn from(error: E) -> Self {
        Self(error.to_string(), 1)
    }
}

/// The exit code for settings that cannot be used (sysexits.h).
const EX_CONFIG: u8 = 78;

/// Runs the program.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let done = settings(arguments.config.as_deref())
        .and_then(|config| dispatch(arguments.command, config));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError(words, code)) => {
            let _ = writeln!(std::io::stderr(), "securevox: {words}"); // nobody left to tell
            ExitCode::from(code)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one door through which the environment enters")]
fn settings(file: Option<&std::path::Path>) -> Result<Config, CliError> {
    let text = match file {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            CliError(format!("{} cannot be read: {error}", path.display()), EX_CONFIG)
        })?,
    };
    config::load(&text, std::env::vars()).map_err(|error| CliError(error.to_string(), EX_CONFIG))
}

fn dispatch(command: CliCommand, config: Config) -> Result<(), CliError> {
    match command {
        CliCommand::Serve => serve::serve(config),
        CliCommand::Doctor => block_on(doctor::doctor(config)),
        CliCommand::Config(ConfigCommand::Check) => check(&config),
        CliCommand::Tree(tree) => tree::tree(&tree, &config),
        CliCommand::Nodes(which) => nodes::nodes(&which, &config),
        CliCommand::Drain(which) => nodes::drain(&which, &config),
        CliCommand::Bench(bench) => bench::bench(&bench, &config),
        CliCommand::Secrets(command) => secrets::secrets(&command, &config),
        CliCommand::Migrate => block_on(async move {
            app::open(&config).await?;
            say("the database is up to date")
        }),
        CliCommand::User(UserCommand::Add { phone, name, role }) => {
            let password = password()?;
            block_on(async move {
                let deeds = app::open(&config).await?;
                let user = deeds.accounts.create_user(&phone, &name, password, role).await?;
                say(&format!(
                    "{} {} is {} with the role {}",
                    user.id, user.phone, user.name, user.role
                ))
            })
        }
        CliCommand::Token(TokenCommand::Add { name, scopes, days }) => block_on(async move {
            let deeds = app::open(&config).await?;
            let new = CreateApiToken { name, scopes, expires_in_days: days };
            let made = deeds.tokens.create(None, new, None).await?;
            say(made.secret.expose())
        }),
        CliCommand::Keys(KeysCommand::Rotate) => block_on(async move {
            let deeds = app::open(&config).await?;
            let id = deeds.accounts.keys().rotate().await?;
            say(&format!("{id} signs from now on"))
        }),
    }
}

fn block_on(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    actix_web::rt::System::new().block_on(work)
}

fn check(config: &Config) -> Result<(), CliError> {
    let text = toml::to_string(config)?;
    say(text.trim_end())?;
    say("# these settings can be used")
}

/// Prints a line for whoever called us.
fn say(line: &str) -> Result<(), CliError> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn password() -> Result<Secret<String>, CliError> {
    use std::io::IsTerminal;
    if std::io::stdin().is_terminal() {
        return Ok(Secret::new(rpassword::prompt_password("password: ")?));
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
