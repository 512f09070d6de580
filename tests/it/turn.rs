//! The embedded TURN server, asked by the programs of another: coturn's.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Backend, World, soon};

/// What somebody is told about the servers.
struct Told {
    port: u16,
    username: String,
    credential: String,
}

/// What a device of a new person is told.
async fn told(world: &World) -> Told {
    let person = world.person("Alice").await;
    let ask = json!({ "userId": person.id, "sessionId": "meeting" });
    let servers = person.post("/api/call/token", ask).await.ok()["iceServers"].clone();
    let turn = servers.as_array().unwrap().last().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let url = text(&turn["urls"][0]);
    let port = url.split(['?', ':']).nth(2).unwrap().parse().unwrap();
    Told { port, username: text(&turn["username"]), credential: text(&turn["credential"]) }
}

/// Whether coturn's programs are here. Without them the story is not told, unless
/// `SECUREVOX_TEST_ALL` insists: then it fails.
#[expect(clippy::print_stdout, reason = "a story that is not told must not look as if it were")]
async fn tools_are_here() -> bool {
    let mut command = Command::new("turnutils_uclient");
    let here = command.stdout(Stdio::null()).stderr(Stdio::null()).status().await.is_ok();
    if !here {
        let insisted = std::env::var_os("SECUREVOX_TEST_ALL").is_some();
        assert!(!insisted, "turnutils_uclient is missing: tests/tools installs it");
        println!("not told: turnutils_uclient is not here");
    }
    here
}

/// Runs a client of coturn that sends packets to itself through the server, and gives what it
/// says; it is over when it heard them all, or when it gives up.
async fn relays(told: &Told, how: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["-k", "1", "40", "turnutils_uclient", "-y", "-c", "-m", "2", "-n", "20"]);
    command.args(["-l", "172", "-z", "20", "-u", &told.username, "-w", &told.credential]);
    command.args(["-p", &told.port.to_string()]).args(how).arg("127.0.0.1");
    let output = command.kill_on_drop(true).output().await.expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// Whether everything that was sent came back.
fn all_came(said: &str) -> bool {
    said.contains("Total lost packets 0 (0.000000%)") && said.contains("tot_recv_msgs=40")
}

#[actix_web::test]
async fn coturn_client_relays_over_tls() {
    if !tools_are_here().await {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (certificate, key) = (file("chain.pem"), file("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-days", "1", "-subj", "/CN=localhost"]);
    openssl.args(["-keyout", &key, "-out", &certificate]);
    assert!(openssl.output().await.unwrap().status.success());
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let tls = port.to_string();
    let settings = [
        LOCAL[0],
        LOCAL[1],
        ("HTTP__TLS_CERTIFICATE_FILE", certificate.as_str()),
        ("HTTP__TLS_KEY_FILE", key.as_str()),
        ("TURN__SECRET", "shared"),
        ("TURN__TLS_PORT", tls.as_str()),
    ];
    let _world = World::with(Backend::Sqlite, &settings).await;
    // Whoever knows the secret makes credentials: `expiry:user`, and its HMAC.
    let username = format!("4000000000:{}", base::ids::UserId::new());
    let secret = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"shared");
    let credential = STANDARD.encode(hmac::sign(&secret, username.as_bytes()));
    let told = Told { port, username, credential };

    let said = relays(&told, &["-t", "-S"]).await;

    assert!(all_came(&said), "{said}");
}

const LOCAL: [(&str, &str); 2] =
    [("TURN__ALLOW_PRIVATE_PEERS", "true"), ("TURN__BIND", "127.0.0.1")];

#[actix_web::test]
async fn coturn_client_relays_over_udp_and_tcp() {
    if !tools_are_here().await {
        return;
    }
    let world = World::with(Backend::Sqlite, &LOCAL).await;
    let told = told(&world).await;

    let ways = [&[][..], &["-s"], &["-t"], &["-D", "-t"]];
    let heard = join_all(ways.map(|how| relays(&told, how))).await;

    for (how, said) in ways.iter().zip(heard) {
        assert!(all_came(&said), "{how:?}: {said}");
    }
    let page = world.stranger().get("/metrics").await.text;
    let value = |name: &str| {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or_default()
    };
    assert!(
        value("securevox_turn_relayed_packets_total{direction=\"to-peer\"}") >= 160.0,
        "{page}"
    );
    assert!(value("securevox_turn_allocations_created_total") >= 8.0, "{page}");
}

#[actix_web::test]
async fn unauthenticated_binding_returns_mapped_address() {
    if !tools_are_here().await {
        return;
    }
    let world = World::with(Backend::Sqlite, &LOCAL).await;
    let port = told(&world).await.port.to_string();

    let mut command = Command::new("timeout");
    command.args(["10", "turnutils_stunclient", "-p", &port, "127.0.0.1"]);
    let output = command.output().await.unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("UDP reflexive addr: 127.0.0.1:"), "{said}");
}

#[actix_web::test]
async fn credentials_with_shared_secret_are_accepted_by_coturn() {
    if !tools_are_here().await {
        return;
    }
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let mut coturn = Command::new("turnserver");
    coturn.args(["-n", "--use-auth-secret", "--static-auth-secret=shared", "-r", "example"]);
    coturn.args(["-L", "127.0.0.1", "-E", "127.0.0.1", "--allow-loopback-peers", "--no-cli"]);
    coturn.args(["-p", &port.to_string(), "--no-tls", "--no-dtls"]);
    coturn.args(["--pidfile", &file("pid"), "-l", &file("log"), "--userdb", &file("db")]);
    coturn.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut coturn = coturn.spawn().unwrap();
    let url = format!("[\"turn:127.0.0.1:{port}?transport=udp\"]");
    let settings = [("TURN__EXTERNAL_URLS", url.as_str()), ("TURN__SECRET", "shared")];
    let world = World::with(Backend::Sqlite, &settings).await;
    let told = told(&world).await;
    assert_eq!(told.port, port);
    soon("coturn listens", async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    let said = relays(&told, &[]).await;

    assert!(all_came(&said), "{said}");
    coturn.kill().await.unwrap();
}

#[actix_web::test]
async fn unauthenticated_turn_clients_use_bounded_memory() {
    let world = World::with(Backend::Sqlite, &LOCAL).await;
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, told(&world).await.port));
    let pages = || {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", world.pid())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
    };
    let before = pages();

    // An Allocate without credentials, from 10,000 ports, five times; its answer is the challenge.
    let mut allocate = vec![0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42];
    allocate.extend([7; 12]);
    allocate.extend([0, 0x19, 0, 4, 17, 0, 0, 0]);
    for _ in 0..10_000 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for _ in 0..5 {
            socket.send_to(&allocate, server).unwrap();
            let mut answer = [0; 256];
            let count = socket.recv(&mut answer).unwrap();
            assert_eq!((&answer[..2], count > 20), (&[1, 0x13][..], true), "an error: 401");
        }
    }

    let grown = (pages().saturating_sub(before)) * 4 / 1024;
    assert!(grown < 40, "the server grew by {grown} MiB");
}

#[actix_web::test]
async fn turn_port_in_use_fails_startup_naming_setting() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let world = World::with(Backend::Sqlite, &LOCAL).await;

    let mut command = world.command();
    command.args(["serve"]).env("SECUREVOX__TURN__PORT", &port);
    command.env("SECUREVOX__HTTP__BIND", "127.0.0.1:0");
    let output = command.output().unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("set turn.port"), "{said}");
}
