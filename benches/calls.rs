//! Calls: what a forwarded packet, a join and a subscriber cost, how late packets come, and Janus
//! under the same load beside it.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use bench::figures::{Aim, figure};
use bench::server::Server;
use bench::wire::Http;
use serde_json::{Value, json};

/// One load: its name, the options of `securevox-loadgen`, and the aims.
struct Load {
    name: &'static str,
    options: &'static [&'static str],
    /// CPU per packet in µs, and the 99th percentile of the delay in ms.
    aims: (Aim, Aim),
    /// Whether Janus is measured as well.
    compared: bool,
}

const NONE: (Aim, Aim) = (None, None);

const LOADS: &[Load] = &[
    Load { name: "1 subscriber", options: &["--subscribers", "1"], aims: NONE, compared: true },
    Load { name: "10 subscribers", options: &["--subscribers", "10"], aims: NONE, compared: true },
    Load {
        name: "30 subscribers",
        options: &["--subscribers", "30"],
        aims: (Some(("all", 3.0)), Some(("p99", 3.0))),
        compared: true,
    },
    Load {
        name: "30 subscribers, bursts of 10 ms",
        options: &["--subscribers", "30", "--burst-ms", "10"],
        aims: NONE,
        compared: false,
    },
    Load {
        name: "300 subscribers, 100 packets/s",
        options: &["--subscribers", "300", "--pps", "100"],
        aims: NONE,
        compared: false,
    },
    Load {
        name: "30 rooms of 1 and 1, 100 packets/s",
        options: &["--rooms", "30", "--subscribers", "1", "--pps", "100"],
        aims: NONE,
        compared: false,
    },
    Load {
        name: "100 join at once, 50 packets/s",
        options: &["--subscribers", "100", "--pps", "50", "--join-storm"],
        aims: NONE,
        compared: false,
    },
];

const SETTINGS: [(&str, &str); 5] = [
    ("CALLS__MAX_PARTICIPANTS", "1000"),
    ("CALLS__MAX_CALLS_PER_USER", "1000"),
    ("MEDIA__PORT_BASE", "0"),
    ("MEDIA__THREADS", "1"),
    ("MEDIA__EXTERNAL_ADDRESSES", "[\"127.0.0.1\"]"),
];

#[actix::main]
async fn main() {
    for load in LOADS {
        let ours = load_securevox(load).await;
        tell(load, "SecureVOX", &ours, load.aims);
        let Some(theirs) = load.compared.then(|| load_janus(load)).flatten() else { continue };
        tell(load, "Janus", &theirs, NONE);
        let cost = |of: &Value| of["server"]["cpu_per_packet"].as_f64().unwrap();
        let aim = (load.name == "30 subscribers").then_some(("", 0.14));
        let share = cost(&ours) / cost(&theirs);
        figure("calls", &format!("{}: CPU, part of Janus'", load.name), "", &[("", share)], aim);
    }
}

/// A server of its own for each load, so that none inherits memory.
async fn load_securevox(load: &Load) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &SETTINGS).await;
    let person = json!({
        "phone": "+4915110000001", "password": "a long enough password", "name": "Load",
        "device": { "name": "load", "platform": "test" },
    });
    let mut http = Http::open(&server.address).await.unwrap();
    let person = http.ask("POST", "/api/auth/register", "", person).await;
    let token = person["access_token"].as_str().unwrap();
    let pid = server.pid().to_string();
    run(load, &["--server", &server.address, "--token", token, "--pid", &pid])
}

/// Janus of the system, on ports of its own; `None` where there is none.
fn load_janus(load: &Load) -> Option<Value> {
    if !Path::new("/usr/bin/janus").is_file() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let write = |name: &str, text: String| {
        let mut file = std::fs::File::create(dir.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    write("janus.jcfg", "general: { debug_level = 2 }\nnat: { ice_lite = true }\nmedia: { ipv6 = false }\nplugins: { disable = \"libjanus_sip.so,libjanus_nosip.so\" }\n".to_owned());
    let ws = format!(
        "general: {{ ws = true\n ws_port = {port}\n ws_ip = \"127.0.0.1\"\n wss = false }}\n"
    );
    write("janus.transport.websockets.jcfg", ws);
    write("janus.transport.http.jcfg", "general: { http = false\n https = false }\n".to_owned());
    write("janus.plugin.videoroom.jcfg", "general: { string_ids = false }\n".to_owned());
    let mut janus = Command::new("/usr/bin/janus")
        .arg("--configs-folder")
        .arg(dir.path())
        .current_dir(dir.path()) // Debian's ends in a crash now and then, and leaves its core there
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(janus.try_wait().unwrap().is_none(), "Janus ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = janus.id().to_string();
    let figures = run(load, &["--janus", &address, "--pid", &pid]);
    let _ = janus.kill(); // ended already is as good
    let _ = janus.wait();
    Some(figures)
}

/// Runs the release build of the load generator.
fn run(load: &Load, at: &[&str]) -> Value {
    let mut command = Command::new(bench::server::release_binary("securevox-loadgen"));
    command.arg("--json").args(at).args(load.options);
    let done = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(done.status.success(), "the load generator failed: {}", load.name);
    serde_json::from_slice(&done.stdout).unwrap()
}

fn tell(load: &Load, who: &str, it: &Value, (cost, delay): (Aim, Aim)) {
    let name = |what: &str| format!("{who}, {}: {what}", load.name);
    let of = |key: &str| it[key].as_f64().unwrap_or(f64::NAN);
    let server = |key: &str| it["server"][key].as_f64().unwrap_or(f64::NAN);
    let values = [("all", server("cpu_per_packet")), ("user", server("cpu_per_packet_user"))];
    figure("calls", &name("CPU per forwarded packet"), "µs", &values, cost);
    let values = [("server", server("cpu_percent")), ("load generator", of("client_percent"))];
    figure("calls", &name("part of a core"), "%", &values, None);
    let values = [("p50", of("delay_p50")), ("p99", of("delay_p99"))];
    figure("calls", &name("added delay"), "ms", &values, delay);
    figure("calls", &name("lost"), "%", &[("", of("loss_percent"))], None);
    let values = [("p50", of("connect_p50")), ("p99", of("connect_p99"))];
    let one_by_one = !load.options.contains(&"--join-storm") && who == "SecureVOX";
    figure("calls", &name("connected"), "ms", &values, one_by_one.then_some(("p50", 10.0)));
    let values = [("p50", of("first_packet_p50")), ("p99", of("first_packet_p99"))];
    figure("calls", &name("joined to first packet"), "ms", &values, None);
    figure("calls", &name("CPU per join"), "ms", &[("", server("cpu_per_join") / 1e3)], None);
    let memory = server("memory_per_subscriber");
    let aim = (who == "SecureVOX" && memory.is_finite()).then_some(("", 40.0));
    figure("calls", &name("memory per subscriber"), "KiB", &[("", memory)], aim);
}
