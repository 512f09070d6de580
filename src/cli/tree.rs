//! `securevox tree`: shows the supervision tree of a running server, or of all nodes, refreshed
//! every second.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde::Deserialize;

use super::nodes::NodeListRow;
use super::remote::{AdminClient, RemoteArgs};
use super::{CliError, print_line};
use crate::config::Config;
use crate::protocol::Paginated;

/// Arguments of `securevox tree`.
#[derive(clap::Args)]
pub(super) struct TreeArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Prints it once and exits.
    #[arg(long)]
    once: bool,
    /// Shows the trees of all nodes.
    #[arg(long)]
    all: bool,
}

#[derive(Deserialize)]
struct ActorsReply {
    node: String,
    items: Vec<ActorRow>,
}

#[derive(Deserialize)]
struct ActorRow {
    path: String,
    state: String,
    uptime_ms: u64,
    restarts: u64,
    mailbox: u64,
    last_failure: Option<LastFailureRow>,
}

#[derive(Deserialize)]
struct LastFailureRow {
    exit: String,
    message: String,
}

/// Signs in and shows the tree.
pub(super) fn tree(tree: &TreeArgs, config: &Config) -> Result<(), CliError> {
    let client = AdminClient::open(&tree.remote, config)?;
    let live = !tree.once && std::io::stdout().is_terminal();
    loop {
        let text =
            if tree.all { draw_all(&client)? } else { draw(&client.get("/api/admin/actors")?) };
        if live {
            // Home, draw, clear the rest: no flicker.
            write!(std::io::stdout(), "\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))?;
            std::io::stdout().flush()?;
        } else {
            return print_line(text.trim_end());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The trees of all nodes; for a node that does not respond, the error.
fn draw_all(client: &AdminClient) -> Result<String, CliError> {
    let nodes: Paginated<NodeListRow> = client.get("/api/admin/nodes")?;
    let mut text = String::new();
    for node in nodes.items {
        let _ = write!(text, "{} ({}) ", node.name, node.state); // writing to a String cannot fail
        match client.get(&format!("/api/admin/actors?node={}", node.id)) {
            Ok(actors) => text.push_str(&draw(&actors)),
            Err(CliError(message, _)) => {
                let _ = writeln!(text, "node {}: {message}", node.id);
            }
        }
    }
    Ok(text)
}

fn draw(actors: &ActorsReply) -> String {
    let mut text = format!("node {}\n", actors.node);
    for actor in &actors.items {
        let depth = actor.path.matches('/').count().saturating_sub(1);
        let name = actor.path.rsplit('/').next().unwrap_or_default();
        let label = format!("{}{name}", "  ".repeat(depth));
        let up = Duration::from_secs(actor.uptime_ms / 1000);
        let _ = write!(text, "{label:<44} {:<9} up {up:<9?}", actor.state); // writing to a String cannot fail
        let _ = write!(text, " restarts {:<4} mailbox {:<5}", actor.restarts, actor.mailbox);
        if let Some(failure) = &actor.last_failure {
            let _ = write!(text, " last: {} ({})", failure.exit, failure.message);
        }
        text.push('\n');
    }
    text
}
