//! A world: one real server process, with its own data and its own port.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::{Answer, Person};

/// A datagram to a room makes it panic if it ends like this.
pub const PANIC_DATAGRAM_SUFFIX: &str = "panic at this packet";

/// Which database a world has.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A file in the world's own directory.
    Sqlite,
    /// The address of a database of its own.
    Postgres(String),
}

/// One server, and everything that belongs to it; gone when it is dropped.
pub struct World {
    server: RefCell<Option<Child>>,
    pub dir: TempDir,
    settings: Vec<(String, String)>,
    port: Cell<u16>,
    setup: RefCell<Option<String>>,
    people: Cell<u32>,
}

impl World {
    /// A world with limits that no story meets by accident.
    pub async fn new(backend: Backend) -> Self {
        Self::with(backend, &[]).await
    }

    /// A world with settings, as `("LIMITS__API_BURST", "10")`.
    pub async fn with(backend: Backend, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut all: Vec<(String, String)> = [
            ("LIMITS__API_PER_SECOND", "10000"),
            ("LIMITS__API_BURST", "10000"),
            ("LIMITS__LOGIN_PER_MINUTE", "10000"),
            ("LIMITS__REGISTRATION_PER_MINUTE", "10000"),
            ("LIMITS__CONTACT_REQUESTS_PER_MINUTE", "10000"),
            ("LIMITS__EVENTS_PER_SECOND", "10000"),
            ("LIMITS__EVENTS_BURST", "10000"),
            ("AUTH__ARGON2_MEMORY_KIB", "64"),
            ("AUTH__ARGON2_ITERATIONS", "1"),
            ("MEDIA__PORT_BASE", "0"),
            ("MEDIA__EXTERNAL_ADDRESSES", "[\"127.0.0.1\"]"),
            ("TURN__PORT", "0"),
            ("TURN__TLS_PORT", "0"),
            ("TELEMETRY__LOG_FILTER", "info"),
        ]
        .into_iter()
        .chain(settings.iter().copied())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        if let Backend::Postgres(url) = backend {
            all.push(("DATABASE__URL".to_owned(), url));
        }
        let world = Self {
            server: RefCell::new(None),
            dir,
            settings: all,
            port: Cell::new(0),
            setup: RefCell::new(None),
            people: Cell::new(0),
        };
        world.start();
        world
    }

    /// Starts the server, on the same port as before if it ran before.
    pub fn start(&self) {
        let mut command = self.command();
        command.arg("serve").stdout(Stdio::piped());
        let log = std::fs::File::options().create(true).append(true).open(self.log_path());
        command.stderr(log.expect("a log file"));
        let mut server = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
        let ready = lines.next().and_then(Result::ok).unwrap_or_default();
        let port = ready.rsplit(':').next().and_then(|p| p.trim_end_matches(')').parse().ok());
        let Some(port) = port else {
            let _ = server.kill();
            panic!("the server did not come up: {ready}\n{}", self.log());
        };
        self.port.set(port);
        let greeting: Vec<_> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.contains("/demo/chat"))
            .filter_map(|line| Some(line.split_once("/setup#")?.1.to_owned()))
            .collect();
        *self.setup.borrow_mut() = greeting.into_iter().next();
        *self.server.borrow_mut() = Some(server);
    }

    /// The binary with this world's settings.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_securevox"));
        command.env("SECUREVOX__NODE__DATA_DIR", self.dir.path());
        command.env("SECUREVOX__HTTP__BIND", format!("127.0.0.1:{}", self.port.get()));
        command.env("SECUREVOX_PANIC_DATAGRAM_SUFFIX", PANIC_DATAGRAM_SUFFIX);
        for (key, value) in &self.settings {
            command.env(format!("SECUREVOX__{key}"), value);
        }
        command
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.dir.path().join("server.log")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// kill -9.
    pub fn kill(&self) {
        if let Some(mut server) = self.server.borrow_mut().take() {
            server.kill().expect("it can be killed");
            server.wait().expect("it ends");
        }
    }

    /// Asks the server to stop (SIGTERM) and gives its exit code.
    pub async fn stop(&self) -> Option<i32> {
        let mut server = self.server.borrow_mut().take().expect("it runs");
        self.signal(&server, "TERM");
        super::soon("the server ends", async {
            loop {
                if let Some(status) = server.try_wait().expect("it can be waited for") {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    fn signal(&self, server: &Child, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &server.id().to_string()]).status();
        assert!(sent.expect("kill exists").success());
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.server.borrow().as_ref().expect("it runs").id()
    }

    /// The server's address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.get())
    }

    /// The token of the one-time set-up link, if one was printed.
    pub fn setup_token(&self) -> Option<String> {
        self.setup.borrow().clone()
    }

    /// Somebody who is not signed in.
    pub fn stranger(&self) -> Person {
        Person::stranger(self.address())
    }

    /// A phone number that nobody has.
    pub fn number(&self) -> String {
        self.people.set(self.people.get() + 1);
        format!("+49151{:08}", 10_000_000 + self.people.get())
    }

    /// A person of this name, registered and signed in.
    pub async fn person(&self, name: &str) -> Person {
        let phone = self.number();
        let answer = self.stranger().registers(&phone, name).await;
        Person::from_answer(self.address(), name, &phone, answer.created())
    }

    /// An administrator, made with the set-up link (the first) or on the command line.
    pub async fn admin(&self) -> Person {
        self.with_role("admin").await
    }

    /// An operator, made on the command line.
    pub async fn operator(&self) -> Person {
        self.with_role("operator").await
    }

    async fn with_role(&self, role: &str) -> Person {
        let phone = self.number();
        let mut command = self.command();
        command.args(["user", "add", &phone, role, "--role", role]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command line starts");
        {
            use std::io::Write;
            let mut stdin = child.stdin.take().expect("piped");
            stdin.write_all(b"a long enough password\n").expect("it reads");
        }
        let done = child.wait_with_output().expect("it ends");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let answer = self.stranger().logs_in(&phone).await;
        Person::from_answer(self.address(), role, &phone, answer.ok())
    }

    /// Two people who are contacts and their direct conversation.
    pub async fn two_friends(&self) -> (Person, Person, String) {
        let (alice, bob) = (self.person("Alice").await, self.person("Bob").await);
        alice.befriends(&bob).await;
        let body = json!({ "kind": "direct", "members": [bob.id] });
        let conversation = alice.post("/api/conversations", body).await.created();
        (alice, bob, conversation["id"].as_str().expect("an id").to_owned())
    }

    /// A group of these people, opened by the first.
    pub async fn group(&self, people: &[&Person]) -> String {
        let others: Vec<_> = people[1..].iter().map(|person| person.id.clone()).collect();
        let body = json!({ "kind": "group", "members": others, "title": "a group" });
        let answer: Answer = people[0].post("/api/conversations", body).await;
        answer.created()["id"].as_str().expect("an id").to_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.borrow_mut().take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("the server's last words:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}
