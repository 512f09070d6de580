//! Media through the server, as `securevox-loadgen` sends and counts it.

use std::path::Path;

use serde_json::Value;

use crate::support::{Backend, World, soon};

/// One publisher and one subscriber for a second; returns the load generator's report.
async fn forward_media(settings: &[(&str, &str)]) -> Value {
    let world = World::with(Backend::Sqlite, settings).await;
    let alice = world.person("Alice").await;
    let loadgen = Path::new(env!("CARGO_BIN_EXE_securevox")).with_file_name("securevox-loadgen");
    assert!(loadgen.is_file(), "build it first: cargo build --package securevox-loadgen");
    let mut load = tokio::process::Command::new(loadgen);
    let (address, pid) = (world.address(), world.pid().to_string());
    load.args(["--json", "--seconds", "1", "--subscribers", "1"]);
    load.args(["--pps", "100", "--server", &address, "--token", &alice.access, "--pid", &pid]);
    let done = soon("the load generator ends", load.output()).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[actix_web::test]
async fn media_is_forwarded_over_ipv6() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        return; // a machine without it
    }
    let figures =
        forward_media(&[("MEDIA__BIND", "::"), ("MEDIA__EXTERNAL_ADDRESSES", r#"["::1"]"#)]).await;
    assert!(figures["forwarded_per_second"].as_f64().unwrap() > 50.0, "{figures}");
}

#[actix_web::test]
async fn dual_stack_port_forwards_media_over_ipv4() {
    let figures = forward_media(&[("MEDIA__BIND", "::")]).await;
    assert!(figures["forwarded_per_second"].as_f64().unwrap() > 50.0, "{figures}");
}
