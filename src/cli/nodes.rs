//! `securevox nodes` and `securevox drain`: lists the nodes of a cluster, and drains one.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::remote::{AdminClient, RemoteArgs};
use super::{CliError, print_line};
use crate::config::Config;
use crate::protocol::Paginated;
use crate::protocol::cluster::NodeLoad;

/// Interval of checks whether a node has left.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Arguments of `securevox nodes`.
#[derive(clap::Args)]
pub(super) struct NodesArgs {
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Arguments of `securevox drain`.
#[derive(clap::Args)]
pub(super) struct DrainArgs {
    /// Name or id of the node; the responding node if omitted.
    node: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Maximum time to wait, in seconds.
    #[arg(long, default_value_t = 60)]
    wait: u64,
}

/// A node in the server's node list.
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

/// Lists the live nodes; a star marks the responding node.
pub(super) fn nodes(nodes: &NodesArgs, config: &Config) -> Result<(), CliError> {
    let remote = AdminClient::open(&nodes.remote, config)?;
    print_line(&format!(
        "  {:<16} {:<31} {:<9} {:>6} {:>8} {:>7}  URL",
        "NAME", "ID", "STATE", "CALLS", "IN CALLS", "PEOPLE"
    ))?;
    for node in list(&remote)? {
        let (star, NodeLoad { calls, participants, people }) =
            (if node.this { '*' } else { ' ' }, node.load);
        print_line(&format!(
            "{star} {:<16} {:<31} {:<9} {calls:>6} {participants:>8} {people:>7}  {}",
            node.name, node.id, node.state, node.url
        ))?;
    }
    Ok(())
}

/// Requests a node to hand over its calls and leave the cluster, and waits until it has left.
pub(super) fn drain(drain: &DrainArgs, config: &Config) -> Result<(), CliError> {
    let remote = AdminClient::open(&drain.remote, config)?;
    let node = find(list(&remote)?, drain.node.as_deref())?;
    remote.post(&format!("/api/admin/nodes/{}/drain", node.id))?;
    let deadline = Instant::now() + Duration::from_secs(drain.wait);
    while !has_left(&remote, &node) {
        if Instant::now() > deadline {
            let message = format!("{} has not left after {} s", node.name, drain.wait);
            return Err(CliError(format!("{message}; it is still draining"), 75)); // EX_TEMPFAIL
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    print_line(&format!("{} has left", node.name))
}

/// Finds the requested node.
fn find(nodes: Vec<NodeListRow>, requested: Option<&str>) -> Result<NodeListRow, CliError> {
    let matches = |node: &NodeListRow| {
        requested.map_or(node.this, |requested| node.id == requested || node.name == requested)
    };
    let mut candidates = nodes.into_iter().filter(matches);
    let wanted = requested.unwrap_or("the responding node");
    let Some(node) = candidates.next() else {
        return Err(CliError(format!("no such node: {wanted}"), 68)); // EX_NOHOST
    };
    if candidates.next().is_some() {
        let message = "several nodes have this name: use an id as shown by `securevox nodes`";
        return Err(CliError(message.to_owned(), 64)); // EX_USAGE
    }
    Ok(node)
}

/// Whether the node is no longer listed; if it was the responding one, whether it no longer accepts
/// connections.
fn has_left(remote: &AdminClient, node: &NodeListRow) -> bool {
    match list(remote) {
        Ok(nodes) => nodes.iter().all(|listed| listed.id != node.id),
        Err(_) => node.this && !remote.accepts_connections(),
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
        let found =
            |requested| find(all(), requested).map(|node| node.id).map_err(|failure| failure.1);

        assert_eq!(found(None).ok().as_deref(), Some("nod_2"));
        assert_eq!(found(Some("nod_3")).ok().as_deref(), Some("nod_3"));
        assert_eq!(found(Some("b")).ok().as_deref(), Some("nod_2"));
        assert_eq!(found(Some("a")), Err(64));
        assert_eq!(found(Some("c")), Err(68));
    }
}
