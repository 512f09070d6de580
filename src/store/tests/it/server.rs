//! A PostgreSQL server of a story's own, that may be stopped, killed and started again. The stories
//! of the whole server use this file too.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server in a directory of its own, on a port of its own.
pub(crate) struct Server {
    binaries: PathBuf,
    scratch: TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Makes and starts a server, if there is one to be had here.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let Some(binaries) = binaries() else {
            skipped();
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server =
            Self { binaries, scratch: tempfile::tempdir().unwrap(), port, options, child: None };
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(server.scratch.path()));
        }
        let data = server.data();
        run(server.program("initdb").args(["-A", "trust", "-U", "postgres", "-D"]).arg(data));
        server.begin();
        Some(server)
    }

    /// The directory of its files.
    pub(crate) fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn begin(&mut self) {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-k"]);
        command.arg(self.scratch.path()).args(["-c", "listen_addresses=127.0.0.1"]);
        // Else what is shared would stay behind when it is killed.
        command.args(["-c", "dynamic_shared_memory_type=mmap"]);
        for option in &self.options {
            command.args(["-c", option]);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        for _ in 0..200 {
            let mut ready = Command::new(self.binaries.join("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            if ready.status().unwrap().success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the server did not start");
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
        // Its lock would keep the next one from starting while the last of its processes go.
        let _ = std::fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// Ends it as an operator would, in spite of those who are connected.
    pub(crate) fn restart(&mut self) {
        self.signal_first("INT");
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
        self.begin();
    }

    /// Sends a signal to all its processes.
    pub(crate) fn signal(&self, name: &str) {
        for id in self.processes() {
            let _ = Command::new("kill").args([&format!("-{name}"), &id]).output(); // it may be gone
        }
    }

    fn signal_first(&self, name: &str) {
        if let Some(id) = self.processes().first() {
            run(Command::new("kill").args([&format!("-{name}"), id]));
        }
    }

    /// The first process and its children.
    fn processes(&self) -> Vec<String> {
        let Ok(file) = std::fs::read_to_string(self.data().join("postmaster.pid")) else {
            return Vec::new();
        };
        let first = file.lines().next().unwrap().to_owned();
        let children = Command::new("pgrep").args(["-P", &first]).output().unwrap().stdout;
        let children = String::from_utf8(children).unwrap();
        std::iter::once(first.as_str()).chain(children.lines()).map(str::to_owned).collect()
    }

    /// One of its programs; PostgreSQL refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let path = self.binaries.join(name);
        if !is_root() {
            return Command::new(path);
        }
        // Unlike `su` and its kin, this one becomes the program, and so can be waited for.
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal("CONT");
        self.kill();
    }
}

fn binaries() -> Option<PathBuf> {
    let there = |path: &Path| path.join("initdb").is_file() && path.join("postgres").is_file();
    let told = std::env::var_os("SECUREVOX_TEST_POSTGRES_BIN").map(PathBuf::from);
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(Result::ok).map(|entry| entry.path().join("bin"));
    told.into_iter().chain(debian).find(|path| there(path))
}

/// Says that a story is not told, unless all must be.
#[expect(clippy::print_stdout, reason = "a story that is not told must not look as if it were")]
fn skipped() {
    let why = "SECUREVOX_TEST_POSTGRES_BIN names no directory with PostgreSQL's programs";
    let all = std::env::var_os("SECUREVOX_TEST_ALL").is_some();
    assert!(!all, "{why}, and SECUREVOX_TEST_ALL is set");
    println!("ignored: {why}");
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
}

/// How long something takes.
pub(crate) async fn timed<T>(deed: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (deed.await, start.elapsed())
}
