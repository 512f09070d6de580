//! Media that travels, as the load generator sends and counts it.

use serde_json::Value;

use crate::support::{Backend, World, soon};

/// One who sends and one who receives, for a second.
async fn travels(settings: &[(&str, &str)]) -> Value {
    let world = World::with(Backend::Sqlite, settings).await;
    let alice = world.person("Alice").await;
    let mut load = tokio::process::Command::from(world.command());
    let (address, pid) = (world.address(), world.pid().to_string());
    load.args(["bench", "calls", "--json", "--seconds", "1", "--subscribers", "1"]);
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
        travels(&[("MEDIA__BIND", "::"), ("MEDIA__EXTERNAL_ADDRESSES", r#"["::1"]"#)]).await;
    assert!(figures["forwarded_per_second"].as_f64().unwrap() > 50.0, "{figures}");
}

#[actix_web::test]
async fn dual_stack_port_forwards_media_over_ipv4() {
    let figures = travels(&[("MEDIA__BIND", "::")]).await;
    assert!(figures["forwarded_per_second"].as_f64().unwrap() > 50.0, "{figures}");
}
