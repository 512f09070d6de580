//! What operators see and do: the tree, the command line, health, the end.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Backend, World, on_both_databases};

on_both_databases! {
    actor_tree_lists_all_running_actors,
    every_subtree_can_be_restarted_without_message_loss,
    stopped_subtree_stays_stopped_until_restart,
}

fn actor<'a>(tree: &'a Value, path: &str) -> &'a Value {
    let items = tree["items"].as_array().unwrap();
    items
        .iter()
        .find(|actor| actor["path"] == path)
        .unwrap_or_else(|| panic!("no {path} in {tree}"))
}

async fn actor_tree_lists_all_running_actors(backend: Backend) {
    let world = World::new(backend).await;
    let (operator, alice) = (world.operator().await, world.person("Alice").await);
    let _socket = alice.connects().await;

    let tree = operator.get("/api/admin/actors").await.ok();

    for path in [
        "/node",
        "/node/store",
        "/node/chat",
        "/node/chat/7",
        "/node/sessions",
        "/node/jobs/housekeeping",
        "/node/http/listener",
    ] {
        assert_eq!(actor(&tree, path)["state"], "running", "{path}");
    }
    let sessions = tree["items"].as_array().unwrap().iter();
    let session =
        sessions.filter(|a| a["path"].as_str().unwrap().contains("/ses_")).collect::<Vec<_>>();
    assert_eq!(session.len(), 1);
    assert_eq!(
        (&session[0]["kind"], &session[0]["restart"]),
        (&json!("actor"), &json!("temporary"))
    );
    assert!(session[0]["handled"].as_u64().unwrap() > 0);
    operator.get("/api/admin/actors?node=nobody").await.refused(404, "actors/node-not-found");
}

async fn every_subtree_can_be_restarted_without_message_loss(backend: Backend) {
    let world = World::new(backend).await;
    let operator = world.operator().await;
    let (alice, bob, conversation) = world.two_friends().await;
    let tree = operator.get("/api/admin/actors").await.ok();
    let branches =
        tree["items"].as_array().unwrap().iter().map(|a| a["path"].as_str().unwrap().to_owned());
    let branches =
        branches.filter(|path| !path.contains("/http") && *path != "/node").collect::<Vec<_>>();

    for (n, path) in branches.iter().enumerate() {
        operator.post(&format!("/api/admin/actors{path}/restart"), json!(null)).await.done();
        // Without a `sync` it would go on where the session that it meets was left.
        let mut bobs = bob.connects_and_syncs(json!({ &conversation: n })).await;
        alice.says(&conversation, &n.to_string(), "still there?").await.created();
        assert_eq!(bobs.hears("message").await["client_id"], json!(n.to_string()), "{path}");
    }

    assert!(branches.len() >= 14, "{branches:?}");
    let admin = world.admin().await;
    let audit = admin.get("/api/admin/audit?limit=200").await.ok();
    let restarts =
        audit["items"].as_array().unwrap().iter().filter(|e| e["action"] == "actor.restart");
    assert_eq!(restarts.count(), branches.len());
}

async fn stopped_subtree_stays_stopped_until_restart(backend: Backend) {
    let world = World::new(backend).await;
    let operator = world.operator().await;
    let (alice, _, conversation) = world.two_friends().await;

    operator.post("/api/admin/actors/node/chat/stop", json!(null)).await.done();
    let tree = operator.get("/api/admin/actors").await.ok();
    assert_eq!(actor(&tree, "/node/chat")["state"], "stopped");
    let refused = alice.says(&conversation, "1", "anybody?").await;
    assert!(refused.header("retry-after").is_some());
    refused.refused(503, "chat/overloaded");
    operator.post("/api/admin/actors/node%2Fchat/restart", json!(null)).await.done();

    alice.says(&conversation, "1", "anybody?").await.created();
    operator
        .post("/api/admin/actors/node/nobody/restart", json!(null))
        .await
        .refused(404, "actors/not-found");
}

#[actix_web::test]
async fn cli_tree_prints_supervision_tree() {
    let world = World::new(Backend::Sqlite).await;
    let operator = world.operator().await;
    let tree = async |token: &str| {
        let mut command = world.command();
        command.args(["tree", "--once", "--token", token]);
        actix_web::rt::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };

    let drawn = tree(&operator.access).await;
    let refused = tree("nonsense").await;

    let text = String::from_utf8(drawn.stdout).unwrap();
    assert!(
        drawn.status.success() && text.contains("  housekeeping") && text.contains("running"),
        "{text}"
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("auth/invalid-token"));
}

#[actix_web::test]
async fn cli_lists_nodes_and_drains_one() {
    let world = World::with(Backend::Sqlite, &[("NODE__NAME", "hermit")]).await;
    let operator = world.operator().await;
    let run = async |words: &[&str]| {
        let mut command = world.command();
        command.args(words).args(["--token", &operator.access]);
        let output = actix_web::rt::task::spawn_blocking(move || command.output().unwrap()).await;
        let output = output.unwrap();
        let words = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), words.concat())
    };

    let (listed, nodes) = run(&["nodes"]).await;
    let (drawn, trees) = run(&["tree", "--all", "--once"]).await;
    let (unknown, why) = run(&["drain", "nobody"]).await;
    let (drained, last) = run(&["drain", "hermit"]).await;
    let (nobody, there) = run(&["nodes"]).await;

    assert_eq!((listed, nodes.lines().count()), (Some(0), 2), "{nodes}");
    assert!(nodes.contains("* hermit") && nodes.contains(" up "), "{nodes}");
    assert!(drawn == Some(0) && trees.starts_with("hermit (up) node nod_"), "{trees}");
    assert!(trees.contains("  housekeeping"), "{trees}");
    assert!(unknown == Some(68) && why.contains("no such node: nobody"), "{why}");
    assert_eq!((drained, last.trim()), (Some(0), "hermit has left"));
    assert_eq!(nobody, Some(69), "{there}");
}

#[actix_web::test]
async fn cli_doctor_and_config_check_report_problems() {
    let world = World::new(Backend::Sqlite).await;

    let well = world.command().arg("doctor").output().unwrap();
    let ill = world
        .command()
        .arg("doctor")
        .env("SECUREVOX__DATABASE__URL", "postgres://nobody@127.0.0.1:1/none")
        .env("SECUREVOX__NODE__DATA_DIR", "/proc/nowhere")
        .output()
        .unwrap();
    let config = world.command().args(["config", "check"]).output().unwrap();
    let typo = world
        .command()
        .args(["config", "check"])
        .env("SECUREVOX__HTTP__BNID", "x")
        .output()
        .unwrap();

    let words = String::from_utf8(well.stdout).unwrap();
    assert!(well.status.success(), "{words}");
    assert!(words.contains("panics: are caught") && words.contains("sqlite answers"), "{words}");
    let words = String::from_utf8(ill.stdout).unwrap();
    assert_eq!(ill.status.code(), Some(1));
    assert!(words.contains("WRONG database") && words.contains("WRONG data directory"), "{words}");
    assert!(config.status.success());
    assert_eq!(typo.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&typo.stderr).contains("bnid"));
}

#[actix_web::test]
async fn cli_migrate_succeeds_and_is_idempotent() {
    let Some(backend) = crate::support::postgres::fresh().await else { return };
    let world = World::new(Backend::Sqlite).await;
    let Backend::Postgres(url) = backend else { unreachable!("fresh gives PostgreSQL") };

    let migrated =
        world.command().arg("migrate").env("SECUREVOX__DATABASE__URL", &url).output().unwrap();
    let again =
        world.command().arg("migrate").env("SECUREVOX__DATABASE__URL", &url).output().unwrap();

    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    assert!(again.status.success());
}

#[actix_web::test]
async fn cli_creates_api_token() {
    let world = World::new(Backend::Sqlite).await;
    let mut command = world.command();
    command.args(["token", "add", "prometheus", "--scope", "metrics:read"]).stderr(Stdio::piped());

    let made = command.output().unwrap();
    let bad = world.command().args(["token", "add", "x", "--scope", "all"]).output().unwrap();

    let secret = String::from_utf8(made.stdout).unwrap();
    assert!(secret.starts_with("svx_"), "{secret}");
    let header = format!("Token {}", secret.trim());
    let headers = [("authorization", header.as_str()), ("x-forwarded-for", "203.0.113.1")];
    world.stranger().sends(awc::http::Method::GET, "/metrics", &headers, None).await.ok();
    assert!(!bad.status.success());
}

#[actix_web::test]
async fn health_and_metrics_reflect_actual_state() {
    let world = World::new(Backend::Sqlite).await;
    let alice = world.person("Alice").await;
    let _socket = alice.connects().await;
    let stranger = world.stranger();

    let health = stranger.get("/health").await.ok();
    let metrics = stranger.get("/metrics").await;

    assert_eq!((&health["status"], &health["service"]), (&json!("healthy"), &json!("SecureVOX")));
    assert_eq!((&health["connectedUsers"], &health["activeCalls"]), (&json!(1), &json!(0)));
    assert_eq!(health["checks"]["database"], "ok");
    stranger.get("/health/live").await.ok();
    stranger.get("/health/ready").await.ok();
    assert!(
        metrics.text.contains("securevox_socket_connections{transport=\"websocket\"} 1"),
        "{}",
        metrics.text
    );
}

#[actix_web::test]
async fn logs_contain_no_secrets_or_message_text() {
    let world = World::with(Backend::Sqlite, &[("TELEMETRY__LOG_FILTER", "trace")]).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let mut bobs = bob.connects().await;
    alice.says(&conversation, "canary-client-id", "canary-of-a-text").await.created();
    bobs.hears("message").await;
    alice.post("/api/auth/refresh", json!({ "refresh_token": alice.refresh })).await.ok();
    world.stop().await;

    let log = world.log();
    let ours = log.lines().filter(|line| line.contains("\"target\":\"securevox"));
    let ours = ours.collect::<Vec<_>>().join("\n");
    for secret in
        ["canary-of-a-text", &alice.access, &alice.refresh, &alice.phone, "a long enough password"]
    {
        assert!(!ours.contains(secret), "{secret} was logged");
    }
}

#[actix_web::test]
async fn server_serves_https_when_certificate_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let settings = [
        ("HTTP__TLS_CERTIFICATE_FILE", certificate.to_str().unwrap()),
        ("HTTP__TLS_KEY_FILE", key.to_str().unwrap()),
    ];
    let world = World::with(Backend::Sqlite, &settings).await;

    let address = world.address();
    let asked = actix_web::rt::task::spawn_blocking(move || {
        let mut asks = std::process::Command::new("curl");
        asks.args(["-s", "--cacert"]).arg(&certificate).arg(format!("https://{address}/health"));
        asks.output().unwrap()
    });
    let asked = asked.await.unwrap();
    let half =
        world.command().args(["config", "check"]).env("SECUREVOX__HTTP__TLS_KEY", "").output();

    let health: Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(health["status"], "healthy");
    assert_eq!(half.unwrap().status.code(), Some(78), "one without the other is a mistake");
}
