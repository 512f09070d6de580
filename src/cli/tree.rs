//! `securevox tree`: the supervision tree of a running server, or of all nodes, drawn anew every
//! second.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde::Deserialize;

use super::nodes::NodeListRow;
use super::remote::{AdminClient, RemoteArgs};
use super::{CliError, say};
use crate::config::Config;
use crate::protocol::Paginated;

/// What is to be drawn.
#[derive(clap::Args)]
pub(super) struct TreeArgs {
    #[command(flatten)]
    at: RemoteArgs,
    /// Draws it once and ends.
    #[arg(long)]
    once: bool,
    /// The trees of all nodes.
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

/// Signs in and draws.
pub(super) fn tree(tree: &TreeArgs, config: &Config) -> Result<(), CliError> {
    let remote = AdminClient::open(&tree.at, config)?;
    let live = !tree.once && std::io::stdout().is_terminal();
    loop {
        let picture =
            if tree.all { forest(&remote)? } else { draw(&remote.get("/api/admin/actors")?) };
        if live {
            // Home, draw, clear what is below: no flicker.
            write!(std::io::stdout(), "\x1b[H{}\x1b[J", picture.replace('\n', "\x1b[K\n"))?;
            std::io::stdout().flush()?;
        } else {
            return say(picture.trim_end());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The trees of all nodes; of one that does not answer, why.
fn forest(remote: &AdminClient) -> Result<String, CliError> {
    let nodes: Paginated<NodeListRow> = remote.get("/api/admin/nodes")?;
    let mut text = String::new();
    for node in nodes.items {
        let _ = write!(text, "{} ({}) ", node.name, node.state); // a String takes it
        match remote.get(&format!("/api/admin/actors?node={}", node.id)) {
            Ok(actors) => text.push_str(&draw(&actors)),
            Err(CliError(words, _)) => {
                let _ = writeln!(text, "node {}: {words}", node.id);
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
        let place = format!("{}{name}", "  ".repeat(depth));
        let up = Duration::from_secs(actor.uptime_ms / 1000);
        let _ = write!(text, "{place:<44} {:<9} up {up:<9?}", actor.state); // a String takes it
        let _ = write!(text, " restarts {:<4} mailbox {:<5}", actor.restarts, actor.mailbox);
        if let Some(failure) = &actor.last_failure {
            let _ = write!(text, " last: {} ({})", failure.exit, failure.message);
        }
        text.push('\n');
    }
    text
}
