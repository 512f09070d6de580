//! Redis servers of a story's own: one, a pair that a Sentinel watches, a cluster of three.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::broker::{free_port, skipped};

/// One server, or one Sentinel.
pub struct Redis {
    scratch: TempDir,
    port: u16,
    arguments: Vec<String>,
    server: Option<Child>,
}

impl Redis {
    /// A server with these settings, if Redis is here.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        Self::on(free_port(), arguments)
    }

    fn on(port: u16, arguments: &[&str]) -> Option<Self> {
        Self::with(port, arguments, "")
    }

    fn with(port: u16, arguments: &[&str], config: &str) -> Option<Self> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            skipped("redis-server");
            return None;
        }
        let scratch = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(scratch.path().join("redis.conf"), config).expect("it can be written");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut redis = Self { scratch, port, arguments, server: None };
        redis.begin();
        Some(redis)
    }

    /// Starts it and waits until it answers.
    pub fn begin(&mut self) {
        let mut command = Command::new("redis-server");
        let config = self.scratch.path().join("redis.conf");
        command.current_dir(self.scratch.path()).arg(config).args(&self.arguments);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.arg("--dir").arg(self.scratch.path());
        self.server = Some(command.stdout(Stdio::null()).spawn().expect("Redis starts"));
        until("Redis answers", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("it can be killed");
            server.wait().expect("it ends");
        }
    }

    /// Sends it a signal, such as STOP.
    pub fn signal(&self, name: &str) {
        let id = self.server.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// What a command says.
    pub fn says<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url()).expect("an address");
        let mut connection = client.get_connection()?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for something that must happen.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A primary, its replica, and the Sentinel that watches both.
pub struct Watched {
    pub primary: Redis,
    _replica: Redis,
    sentinel: Redis,
}

impl Watched {
    pub fn start() -> Option<Self> {
        let primary = Redis::start(&[])?;
        let port = primary.port().to_string();
        let replica = Redis::start(&["--replicaof", "127.0.0.1", &port])?;
        let config = format!(
            "sentinel monitor main 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 3000\n"
        );
        let sentinel = Redis::with(free_port(), &["--sentinel"], &config)?;
        let watched = Self { primary, _replica: replica, sentinel };
        until("the Sentinel knows the replica", || {
            let known =
                watched.sentinel.says::<Vec<redis::Value>>(&["SENTINEL", "REPLICAS", "main"]);
            known.is_ok_and(|known| known.len() == 1)
        });
        Some(watched)
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/main", self.sentinel.port())
    }
}

/// Three servers that share the keys.
pub struct Cluster(pub Vec<Redis>);

impl Cluster {
    pub fn start() -> Option<Self> {
        let mut servers = Vec::new();
        while servers.len() < 3 {
            let port = free_port();
            // They speak to each other ten thousand ports higher.
            if port > 55_000 || std::net::TcpListener::bind(("127.0.0.1", port + 10_000)).is_err() {
                continue;
            }
            servers.push(Redis::on(port, &["--cluster-enabled", "yes"])?);
        }
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]);
        create.args(servers.iter().map(|server| format!("127.0.0.1:{}", server.port())));
        create.args(["--cluster-yes"]).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(create.status().expect("redis-cli runs").success());
        until("the cluster stands", || {
            servers.iter().all(|server| {
                let info = server.says::<String>(&["CLUSTER", "INFO"]);
                info.is_ok_and(|info| info.contains("cluster_state:ok"))
            })
        });
        Some(Self(servers))
    }

    pub fn url(&self) -> String {
        let hosts: Vec<_> =
            self.0.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Gives the part of the keys in which `key` lies, empty as it must be, to another server.
    pub fn moves(&self, key: &str) {
        let slot = self.0[0].says::<u64>(&["CLUSTER", "KEYSLOT", key]).expect("a slot");
        let slot = slot.to_string();
        let id = |server: &Redis| server.says::<String>(&["CLUSTER", "MYID"]).expect("an id");
        let has = |server: &&Redis| {
            let counted = server.says::<String>(&["CLUSTER", "NODES"]).expect("a list");
            let own = counted.lines().find(|line| line.contains("myself")).unwrap_or_default();
            own.split(' ').skip(8).filter_map(|part| part.split_once('-')).any(|(from, to)| {
                let range = from.parse::<u64>().unwrap()..=to.parse::<u64>().unwrap();
                range.contains(&slot.parse().unwrap())
            })
        };
        let from = self.0.iter().find(has).expect("somebody has it");
        let to = self.0.iter().find(|server| server.port() != from.port()).expect("another");
        let (from_id, to_id) = (id(from), id(to));
        to.says::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).expect("said");
        from.says::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).expect("said");
        for server in [to, from] {
            server.says::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).expect("said");
        }
    }
}
