//! A root of a story's own, and a certificate of `localhost` that leads to it.

use std::process::Command;

use tempfile::TempDir;

/// The files `ca.pem`, `server.crt` and `server.key`.
pub struct Certificates(TempDir);

impl Certificates {
    pub fn make() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let script = "cd \"$1\" &&
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=root -keyout ca.key -out ca.pem \
                -addext basicConstraints=critical,CA:TRUE &&
            openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr &&
            printf 'subjectAltName=DNS:localhost\\n' > ext &&
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                -extfile ext -out server.crt";
        let made = Command::new("sh").args(["-c", script, "sh"]).arg(directory.path()).output();
        assert!(made.expect("openssl runs").status.success());
        Self(directory)
    }

    /// The path of one of the files.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// The root, in PEM.
    pub fn root(&self) -> String {
        std::fs::read_to_string(self.path("ca.pem")).expect("it was made")
    }
}
