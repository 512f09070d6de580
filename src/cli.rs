//! The command line of the server and its operators.

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

/// A secure communication server for a group.
#[derive(Parser)]
#[command(name = "securevox", version, about)]
struct Arguments {
    /// Settings file, merged over the built-in config.toml.
    #[arg(long, global = true, env = "SECUREVOX_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Runs the server until it is stopped.
    Serve,
    /// Migrates the database and exits.
    Migrate,
    /// Inspects the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Checks the installation and suggests fixes.
    Doctor,
    /// Manages user accounts.
    #[command(subcommand)]
    User(UserCommand),
    /// Manages API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Manages the keys that sign access tokens.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Manages the keys that seal secrets in the database.
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Shows the supervision tree of a running server, live.
    Tree(tree::TreeArgs),
    /// Lists the nodes of the cluster.
    Nodes(nodes::NodesArgs),
    /// Drains a node: it hands over its calls and leaves the cluster; waits until it has left.
    Drain(nodes::DrainArgs),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Checks all layers and prints the merged settings.
    Check,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Creates an account; the password is prompted for, or read from standard input.
    Add {
        /// Phone number in international form: +49…
        phone: String,
        /// Display name, as other users see it.
        name: String,
        /// Role: user, admin or operator.
        #[arg(long, default_value = "user")]
        role: store::Role,
    },
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Creates an API token and prints it, once.
    Add {
        /// Name that tells its purpose.
        name: String,
        /// A scope that it grants; may be given several times.
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// Lifetime in days; without it the token never expires.
        #[arg(long)]
        days: Option<u32>,
    },
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Creates a new signing key; tokens signed with the old one stay valid until they expire.
    Rotate,
}

/// Why a command failed: the message and the exit code.
struct CliError(String, u8);

impl<E: std::error::Error> From<E> for CliError {
    fn from(error: E) -> Self {
        Self(error.to_string(), 1)
    }
}

/// Exit code for invalid settings (sysexits.h).
const EX_CONFIG: u8 = 78;

/// Parses the arguments and runs the command.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let result = load_settings(arguments.config.as_deref())
        .and_then(|config| dispatch(arguments.command, config));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError(message, code)) => {
            let _ = writeln!(std::io::stderr(), "securevox: {message}"); // nothing can be done if this fails
            ExitCode::from(code)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the only place that reads the environment")]
fn load_settings(file: Option<&std::path::Path>) -> Result<Config, CliError> {
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
        CliCommand::Config(ConfigCommand::Check) => print_config(&config),
        CliCommand::Tree(tree) => tree::tree(&tree, &config),
        CliCommand::Nodes(args) => nodes::nodes(&args, &config),
        CliCommand::Drain(args) => nodes::drain(&args, &config),
        CliCommand::Secrets(command) => secrets::secrets(&command, &config),
        CliCommand::Migrate => block_on(async move {
            app::open(&config).await?;
            print_line("the database is up to date")
        }),
        CliCommand::User(UserCommand::Add { phone, name, role }) => {
            let password = password()?;
            block_on(async move {
                let domain = app::open(&config).await?;
                let user = domain.accounts.create_user(&phone, &name, password, role).await?;
                print_line(&format!(
                    "{} {} is {} with the role {}",
                    user.id, user.phone, user.name, user.role
                ))
            })
        }
        CliCommand::Token(TokenCommand::Add { name, scopes, days }) => block_on(async move {
            let domain = app::open(&config).await?;
            let new = CreateApiToken { name, scopes, expires_in_days: days };
            let created = domain.tokens.create(None, new, None).await?;
            print_line(created.secret.expose())
        }),
        CliCommand::Keys(KeysCommand::Rotate) => block_on(async move {
            let domain = app::open(&config).await?;
            let id = domain.accounts.keys().rotate().await?;
            print_line(&format!("{id} is the active signing key now"))
        }),
    }
}

fn block_on(command: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    actix_web::rt::System::new().block_on(command)
}

fn print_config(config: &Config) -> Result<(), CliError> {
    let text = toml::to_string(config)?;
    print_line(text.trim_end())?;
    print_line("# these settings are valid")
}

/// Prints a line to standard output.
fn print_line(line: &str) -> Result<(), CliError> {
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
