//! `securevox nodes` and `securevox drain`: the nodes of a cluster, and one that is to leave it.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::remote::{AdminClient, RemoteArgs};
use super::{CliError, say};
use crate::config::Config;
use crate::protocol::Paginated;
use crate::protocol::cluster::NodeLoad;

/// How often it is looked whether a node is gone.
const LOOK: Duration = Duration::from_millis(200);

/// Whose nodes are shown.
#[derive(clap::Args)]
pub(super) struct NodesArgs {
    #[command(flatten)]
    at: RemoteArgs,
}

/// Which node is to leave.
#[derive(clap::Args)]
pub(super) struct DrainArgs {
    /// Its name or id; the node that answers where it is left out.
    node: Option<String>,
    #[command(flatten)]
    at: RemoteArgs,
    /// How many seconds it may take.
    #[arg(long, default_value_t = 60)]
    wait: u64,
}

/// A node, as the server shows it.
#[derive(Deserialize)]
pub(super) struct NodeListRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) state: String,
    url: String,
    this: bool,
    load: NodeLoad,
}

fn list(remote: &AdminClient) -> Result<Vec<NodeListRow>, CliError> {
    Ok(remote.get::<Paginated<NodeListRow>>("/api/admin/nodes")?.items)
}

/// Lists the nodes that live; a star is at the one that answers.
pub(super) fn nodes(nodes: &NodesArgs, config: &Config) -> Result<(), CliError> {
    let remote = AdminClient::open(&nodes.at, config)?;
    say(&format!(
        "  {:<16} {:<31} {:<9} {:>6} {:>8} {:>7}  URL",
        "NAME", "ID", "STATE", "CALLS", "IN CALLS", "PEOPLE"
    ))?;
    for node in list(&remote)? {
        let (star, NodeLoad { calls, participants, people }) =
            (if node.this { '*' } else { ' ' }, node.load);
        say(&format!(
            "{star} {:<16} {:<31} {:<9} {calls:>6} {participants:>8} {people:>7}  {}",
            node.name, node.id, node.state, node.url
        ))?;
    }
    Ok(())
}

/// Tells a node to hand over what it has and to leave, and waits until it has.
pub(super) fn drain(drain: &DrainArgs, config: &Config) -> Result<(), CliError> {
    let remote = AdminClient::open(&drain.at, config)?;
    let node = find(list(&remote)?, drain.node.as_deref())?;
    remote.post(&format!("/api/admin/nodes/{}/drain", node.id))?;
    let end = Instant::now() + Duration::from_secs(drain.wait);
    while !is_gone(&remote, &node) {
        if Instant::now() > end {
            let words = format!("{} has not left after {} s", node.name, drain.wait);
            return Err(CliError(format!("{words}; it still tries"), 75)); // EX_TEMPFAIL
        }
        std::thread::sleep(LOOK);
    }
    say(&format!("{} has left", node.name))
}

/// The node that is meant.
fn find(nodes: Vec<NodeListRow>, meant: Option<&str>) -> Result<NodeListRow, CliError> {
    let is = |node: &NodeListRow| {
        meant.map_or(node.this, |meant| node.id == meant || node.name == meant)
    };
    let mut found = nodes.into_iter().filter(is);
    let what = meant.unwrap_or("the one that answers");
    let Some(node) = found.next() else {
        return Err(CliError(format!("there is no such node: {what}"), 68)); // EX_NOHOST
    };
    if found.next().is_some() {
        let words = "several nodes are called that: give the id, as `securevox nodes` shows it";
        return Err(CliError(words.to_owned(), 64)); // EX_USAGE
    }
    Ok(node)
}

/// Whether it is in no list any more; if it was the one that answers, whether nobody does.
fn is_gone(remote: &AdminClient, node: &NodeListRow) -> bool {
    match list(remote) {
        Ok(nodes) => nodes.iter().all(|there| there.id != node.id),
        Err(_) => node.this && !remote.is_there(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, name: &str, this: bool) -> NodeListRow {
        let (id, name, load) = (id.to_owned(), name.to_owned(), NodeLoad::default());
        NodeListRow { id, name, state: "up".to_owned(), url: String::new(), this, load }
    }

    #[test]
    fn node_lookup_by_id_or_name_rejects_ambiguity() {
        let all =
            || vec![node("nod_1", "a", false), node("nod_2", "b", true), node("nod_3", "a", false)];
        let found = |meant| find(all(), meant).map(|node| node.id).map_err(|failure| failure.1);

        assert_eq!(found(None).ok().as_deref(), Some("nod_2"));
        assert_eq!(found(Some("nod_3")).ok().as_deref(), Some("nod_3"));
        assert_eq!(found(Some("b")).ok().as_deref(), Some("nod_2"));
        assert_eq!(found(Some("a")), Err(64));
        assert_eq!(found(Some("c")), Err(68));
    }
}
