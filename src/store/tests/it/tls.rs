//! The TLS settings of a URL are enforced.

use std::process::Command;

use store::{Store, StoreConfig, StoreError};

use crate::harness::{Scratch, skip};
use crate::server::{Server, run};

/// A root certificate, and one for `localhost` (not 127.0.0.1) that chains to it.
fn certificates() -> Option<Scratch> {
    let scratch = Scratch::new();
    if Command::new("openssl").arg("version").output().is_err() {
        skip("openssl is not installed");
        return None;
    }
    let script = "cd \"$1\" && umask 022 &&
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=root -keyout ca.key -out ca.pem \
            -addext basicConstraints=critical,CA:TRUE &&
        openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr &&
        printf 'subjectAltName=DNS:localhost\\n' > ext &&
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile ext -out server.crt &&
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout other.key \
            -out other.pem -addext basicConstraints=critical,CA:TRUE";
    run(Command::new("sh").args(["-c", script, "sh"]).arg(&scratch.0));
    chown(&scratch);
    Some(scratch)
}

/// PostgreSQL accepts a private key file only if it belongs to itself or root and is closed to
/// others.
fn chown(scratch: &Scratch) {
    let script = "chmod 755 \"$1\" && chmod 600 \"$1/server.key\" &&
        if [ \"$(id -u)\" = 0 ]; then chown postgres \"$1/server.key\"; fi";
    run(Command::new("sh").args(["-c", script, "sh"]).arg(&scratch.0));
}

async fn open(server: &Server, host: &str, query: &str) -> Result<(), StoreError> {
    let url = server.url().replace("127.0.0.1", host);
    let store = Store::open(StoreConfig::new(format!("{url}?{query}"))).await?;
    store.ping().await
}

fn refused(outcome: &Result<(), StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn sslmode_determines_certificate_verification() {
    let Some(files) = certificates() else { return };
    let path = |name: &str| files.0.join(name).display().to_string();
    let (cert, key) = (path("server.crt"), path("server.key"));
    let options =
        ["ssl=on".to_owned(), format!("ssl_cert_file={cert}"), format!("ssl_key_file={key}")];
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let Some(server) = Server::start(&options) else { return };
    // From here on only TLS connections are accepted.
    let rules = "hostssl all all all trust\nhostnossl all all all reject\n";
    std::fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
    server.signal("HUP");
    std::thread::sleep(std::time::Duration::from_millis(300));

    assert!(refused(&open(&server, "127.0.0.1", "sslmode=disable").await));
    open(&server, "127.0.0.1", "").await.unwrap();
    open(&server, "127.0.0.1", "sslmode=prefer").await.unwrap();
    open(&server, "127.0.0.1", "sslmode=require").await.unwrap();
    assert!(refused(&open(&server, "localhost", "sslmode=verify-full").await));
    let (root, other) = (path("ca.pem"), path("other.pem"));
    let verify = |mode: &str, root: &str| format!("sslmode={mode}&sslrootcert={root}");
    open(&server, "localhost", &verify("verify-full", &root)).await.unwrap();
    open(&server, "localhost", &verify("require", &root)).await.unwrap();
    assert!(refused(&open(&server, "127.0.0.1", &verify("verify-full", &root)).await));
    assert!(refused(&open(&server, "localhost", &verify("verify-full", &other)).await));
    assert!(refused(&open(&server, "localhost", &verify("require", &other)).await));
    assert!(refused(&open(&server, "localhost", &verify("verify-full", "/nowhere.pem")).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_tls_accepts_only_optional_sslmode() {
    let Some(server) = Server::start(&[]) else { return };

    open(&server, "127.0.0.1", "sslmode=disable").await.unwrap();
    open(&server, "127.0.0.1", "sslmode=prefer").await.unwrap();
    assert!(refused(&open(&server, "127.0.0.1", "sslmode=require").await));
    assert!(refused(&open(&server, "127.0.0.1", "sslmode=verify-full").await));
}
