//! A PostgreSQL server for one test, which may be stopped, killed and started again. The
//! integration tests of the whole server use this file too.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server in its own directory, on its own port.
pub(crate) struct Server {
    binaries: PathBuf,
    scratch: TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Creates and starts a server; `None` if PostgreSQL's programs are not installed.
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

    /// The server's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts the server process and waits until it accepts connections.
    pub(crate) fn begin(&mut self) {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-k"]);
        command.arg(self.scratch.path()).args(["-c", "listen_addresses=127.0.0.1"]);
        // Other shared memory types would leave segments behind when the server is killed.
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

    /// Ends the server as a crash would.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
        // Its lock file would keep the next one from starting while its last processes end.
        let _ = std::fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// Restarts the server as an operator would, in spite of open connections.
    pub(crate) fn restart(&mut self) {
        self.signal_first("INT");
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
        self.begin();
    }

    /// Sends a signal to all processes of the server.
    pub(crate) fn signal(&self, name: &str) {
        for id in self.processes() {
            let _ = Command::new("kill").args([&format!("-{name}"), &id]).output(); // it may have ended
        }
    }

    fn signal_first(&self, name: &str) {
        if let Some(id) = self.processes().first() {
            run(Command::new("kill").args([&format!("-{name}"), id]));
        }
    }

    /// Process ids of the postmaster and its children.
    fn processes(&self) -> Vec<String> {
        let Ok(file) = std::fs::read_to_string(self.data().join("postmaster.pid")) else {
            return Vec::new();
        };
        let postmaster = file.lines().next().unwrap().to_owned();
        let children = Command::new("pgrep").args(["-P", &postmaster]).output().unwrap().stdout;
        let children = String::from_utf8(children).unwrap();
        std::iter::once(postmaster.as_str()).chain(children.lines()).map(str::to_owned).collect()
    }

    /// A command that runs one of the server's programs; PostgreSQL refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let path = self.binaries.join(name);
        if !is_root() {
            return Command::new(path);
        }
        // Unlike `su`, setpriv replaces itself by the program, so that the process can be waited
        // for.
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
    let has_programs =
        |path: &Path| path.join("initdb").is_file() && path.join("postgres").is_file();
    let configured = std::env::var_os("SECUREVOX_TEST_POSTGRES_BIN").map(PathBuf::from);
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(Result::ok).map(|entry| entry.path().join("bin"));
    configured.into_iter().chain(debian).find(|path| has_programs(path))
}

/// Reports a test as skipped; panics if `SECUREVOX_TEST_ALL` is set.
#[expect(clippy::print_stdout, reason = "a skipped test must not look as if it had passed")]
fn skipped() {
    let reason = "SECUREVOX_TEST_POSTGRES_BIN names no directory with PostgreSQL's programs";
    let all = std::env::var_os("SECUREVOX_TEST_ALL").is_some();
    assert!(!all, "{reason}, and SECUREVOX_TEST_ALL is set");
    println!("ignored: {reason}");
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}

/// The result of a future and how long it took.
pub(crate) async fn timed<T>(operation: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (operation.await, start.elapsed())
}
