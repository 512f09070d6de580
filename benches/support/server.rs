//! A server process of its own for a benchmark: the release binary with limits nobody meets.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::wire::Http;

/// Limits out of the way, and passwords cheap: neither is what is measured.
const SETTINGS: [(&str, &str); 14] = [
    ("LIMITS__API_PER_SECOND", "1000000"),
    ("LIMITS__API_BURST", "1000000"),
    ("LIMITS__LOGIN_PER_MINUTE", "1000000"),
    ("LIMITS__REGISTRATION_PER_MINUTE", "1000000"),
    ("LIMITS__CONTACT_REQUESTS_PER_MINUTE", "1000000"),
    ("LIMITS__EVENTS_PER_SECOND", "1000000"),
    ("LIMITS__EVENTS_BURST", "1000000"),
    ("AUTH__ARGON2_MEMORY_KIB", "64"),
    ("AUTH__ARGON2_ITERATIONS", "1"),
    ("AUTH__ACCESS_TOKEN_TTL_SECONDS", "3600"),
    ("CHAT__DIRECT_CONVERSATIONS_FROM", "anybody"),
    ("TELEMETRY__LOG_FILTER", "warn"),
    ("MEDIA__PORT_BASE", "0"),
    ("TURN__PORT", "0"),
];

/// A running server, or its peer; it ends with this value.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Server {
    /// Starts the server on `dir` and waits until it is ready. Settings come as `CHAT__SHARD_QUEUE_CAPACITY`.
    pub async fn start(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let mut server = Self::spawn(dir, settings);
        server.ready().await;
        server
    }

    /// Starts the server and does not wait.
    pub fn spawn(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let address = free_address();
        let mut command = Command::new(binary());
        command.arg("serve").env("SECUREVOX__NODE__DATA_DIR", dir);
        command.env("SECUREVOX__HTTP__BIND", &address);
        for (key, value) in SETTINGS.iter().chain(settings) {
            command.env(format!("SECUREVOX__{key}"), value);
        }
        Self::run(command, address)
    }

    /// Starts a peer written for Node.js, which is told its port; waits until it listens.
    pub async fn peer(script: &Path) -> Self {
        let address = free_address();
        let mut command = Command::new("node");
        command.arg(script).arg(address.rsplit(':').next().unwrap());
        let peer = Self::run(command, address);
        while tokio::net::TcpStream::connect(&peer.address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        peer
    }

    /// Starts a peer that is told its port and a directory of its own; `None` if it ends at once.
    pub async fn peer_in(script: &Path, dir: &Path) -> Option<Self> {
        let address = free_address();
        let mut command = Command::new(script);
        command.arg(address.rsplit(':').next().unwrap()).arg(dir);
        let mut peer = Self::run(command, address);
        while tokio::net::TcpStream::connect(&peer.address).await.is_err() {
            if peer.child.try_wait().unwrap().is_some() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(peer)
    }

    fn run(mut command: Command, address: String) -> Self {
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        Self { child, address }
    }

    /// Returns with the first answer 200 of `/health/ready`.
    pub async fn ready(&mut self) {
        loop {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {ended:?}");
            if let Ok(mut http) = Http::open(&self.address).await
                && let Ok((200, _)) = http.try_ask("GET", "/health/ready", "", None).await
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Names the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // ended already is as good
        let _ = self.child.wait();
    }
}

/// The server's release binary.
pub fn binary() -> PathBuf {
    release_binary("securevox")
}

/// A release binary of the workspace; it lies beside the folder of the benchmarks.
pub fn release_binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let binary = own.ancestors().nth(2).unwrap().join(name);
    assert!(binary.is_file(), "build it first: cargo build --release --package {name}");
    binary
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
