//! A RabbitMQ of a story's own, that may be killed, frozen and started again.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// A broker in a directory of its own, on ports of its own.
pub struct Broker {
    scratch: TempDir,
    port: u16,
    env: Vec<(&'static str, String)>,
    server: Option<Child>,
}

/// The address of the broker that all stories share; without one a story is not told, unless
/// `SECUREVOX_TEST_ALL` insists.
pub fn shared() -> Option<String> {
    let url = std::env::var("SECUREVOX_TEST_AMQP").ok();
    if url.is_none() {
        skipped("SECUREVOX_TEST_AMQP");
    }
    url
}

/// Says that a story is not told, or fails if it must be.
#[expect(clippy::print_stdout, reason = "a story that is not told must not look as if it were")]
pub fn skipped(what: &str) {
    assert!(std::env::var_os("SECUREVOX_TEST_ALL").is_none(), "{what}: run `make test`");
    println!("not told: there is no {what}");
}

/// A port that nobody has.
pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("an address").port()
}

/// Sends a signal to a process and all of its group.
pub fn signal_group(id: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), "--", &format!("-{id}")]).output();
}

impl Broker {
    /// Makes and starts one, if RabbitMQ is here.
    pub async fn start() -> Option<Self> {
        Self::with("").await
    }

    /// One with these lines in its `rabbitmq.conf`.
    pub async fn with(config: &str) -> Option<Self> {
        if !Path::new(PROGRAMS).exists() {
            skipped("rabbitmq-server");
            return None;
        }
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let dir = scratch.path().display().to_string();
        let port = free_port();
        let env = vec![
            ("HOME", dir.clone()),
            ("ERL_EPMD_PORT", free_port().to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODENAME", format!("story{port}@localhost")),
            ("RABBITMQ_NODE_PORT", port.to_string()),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_DIST_PORT", free_port().to_string()),
            ("RABBITMQ_MNESIA_BASE", dir.clone()),
            ("RABBITMQ_LOG_BASE", dir.clone()),
            ("RABBITMQ_CONFIG_FILE", format!("{dir}/rabbitmq")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", format!("{dir}/plugins")),
        ];
        std::fs::write(format!("{dir}/rabbitmq.conf"), config).expect("it can be written");
        let mut broker = Self { scratch, port, env, server: None };
        broker.begin().await;
        Some(broker)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(Path::new(PROGRAMS).join(name));
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command.current_dir(self.scratch.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts it and waits until it takes connections.
    pub async fn begin(&mut self) {
        let mut command = self.program("rabbitmq-server");
        self.server = Some(command.process_group(0).spawn().expect("RabbitMQ starts"));
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(90), "RabbitMQ did not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal_group(server.id(), "KILL");
            server.wait().expect("it ends");
        }
    }

    /// Sends it a signal, such as STOP.
    pub fn signal(&self, name: &str) {
        signal_group(self.server.as_ref().expect("it runs").id(), name);
    }

    /// `rabbitmqctl`.
    pub async fn control(&self, arguments: &[&str]) {
        let mut command = tokio::process::Command::from(self.program("rabbitmqctl"));
        assert!(command.args(arguments).status().await.expect("it runs").success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        // The server of names refuses to end until it has noticed that the broker is gone.
        for _ in 0..100 {
            let mut names = Command::new("epmd");
            names.arg("-kill").envs(self.env.iter().map(|(key, value)| (key, value)));
            let Ok(said) = names.output() else { break };
            let said = [said.stdout, said.stderr].concat();
            if !String::from_utf8_lossy(&said).contains("living") {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
