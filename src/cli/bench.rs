//! `securevox bench calls`: loads a server with calls and tells what they cost it.

mod load;
mod process;
mod target;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, watch};

use super::{CliError, print_line};
use crate::config::Config;
use load::{DelayHistogram, LoadContext, LoadPhase, LoadRole, ParticipantReport};
use media::client::PacketCounts;
use process::Cpu;
use target::TargetServer;

/// What is measured.
#[derive(clap::Subcommand)]
pub(super) enum BenchCommand {
    /// Calls: publishers and subscribers of synthetic VP8 and Opus.
    Calls(CallBenchArgs),
}

/// Where the server is, and how it is loaded.
#[derive(clap::Args)]
pub(super) struct CallBenchArgs {
    /// The server's host and port, where it speaks plain HTTP; http.bind where it is left out.
    #[arg(long)]
    server: Option<String>,
    /// An account's phone number, all of whose new devices take part; the password is asked for.
    #[arg(long)]
    phone: Option<String>,
    /// Its access token instead.
    #[arg(long, env = "SECUREVOX_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Or an API token with the scope calls:token, and --user.
    #[arg(long, requires = "user", hide_env_values = true)]
    api_token: Option<String>,
    /// The id of the account for which the API token makes call tokens.
    #[arg(long)]
    user: Option<String>,
    /// The host and port of the WebSockets of a Janus with videorooms, which is loaded instead.
    #[arg(long)]
    janus: Option<String>,
    /// Rooms at once.
    #[arg(long, default_value_t = 1)]
    rooms: usize,
    /// Who publish in each room.
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// Who receive everything in each room.
    #[arg(long, default_value_t = 30)]
    subscribers: usize,
    /// How long it is measured.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Packets of 1,180 bytes per second and publisher; 50 of sound come with them. A subscriber is
    /// sent 8 Mbit/s at most, and no picture that needs more.
    #[arg(long, default_value_t = 700)]
    pps: u32,
    /// Publishers send together what falls into this time.
    #[arg(long, default_value_t = 1)]
    burst_ms: u64,
    /// Subscribers join all at once and not one after the other.
    #[arg(long)]
    join_storm: bool,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The server's process on this machine; found by its port where it is left out.
    #[arg(long)]
    pid: Option<u32>,
    /// One line for machines.
    #[arg(long)]
    json: bool,
}

/// What came of it. Times in milliseconds, memory in KiB, time of the processor in microseconds.
#[derive(Default, Serialize)]
struct BenchReport {
    rooms: usize,
    publishers: usize,
    subscribers: usize,
    sent_per_second: f64,
    forwarded_per_second: f64,
    missing: u64,
    repaired: u64,
    loss_percent: f64,
    delay_p50: f64,
    delay_p99: f64,
    connect_p50: f64,
    connect_p99: f64,
    first_packet_p50: f64,
    first_packet_p99: f64,
    joined_in: f64,
    client_percent: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ProcessUsage>,
}

/// What it cost the server's process.
#[derive(Serialize)]
struct ProcessUsage {
    cpu_per_packet: f64,
    cpu_per_packet_user: f64,
    cpu_percent: f64,
    cpu_per_join: f64,
    memory_per_subscriber: f64,
}

/// How long after the last join media settles before it is measured.
const SETTLE: Duration = Duration::from_millis(1500);

pub(super) fn bench(bench: &BenchCommand, config: &Config) -> Result<(), CliError> {
    let BenchCommand::Calls(calls) = bench;
    let password = match (&calls.phone, &calls.token, &calls.api_token, &calls.janus) {
        (Some(_), None, None, None) => Some(super::password()?),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = calls.server.clone().unwrap_or_else(|| config.http.bind.to_string());
        let door = calls.door(&server, password.as_ref().map_or("", |it| it.expose())).await?;
        let at = calls.janus.as_ref().unwrap_or(&server);
        let port = at.rsplit(':').next().and_then(|port| port.parse().ok());
        let pid = calls.pid.or_else(|| process::listening(port?));
        let figures = calls.measure(door, pid).await?;
        let text = if calls.json { serde_json::to_string(&figures)? } else { table(&figures) };
        print_line(&text)
    })
}

impl CallBenchArgs {
    async fn door(&self, server: &str, password: &str) -> Result<TargetServer, CliError> {
        // Rooms of an earlier run are not entered again.
        let run = u64::from(std::process::id()) * 1000;
        if let Some(janus) = &self.janus {
            return Ok(TargetServer::Janus {
                server: janus.clone(),
                feeds: std::sync::Mutex::default(),
                run,
            });
        }
        let ask = wire::ask;
        let (authorization, user) = match (&self.api_token, &self.user, &self.token, &self.phone) {
            (Some(token), Some(user), ..) => (format!("Token {token}"), user.clone()),
            (_, _, Some(token), _) => {
                let authorization = format!("Bearer {token}");
                let me = ask(server, "GET", "/api/me", &authorization, &Value::Null).await?;
                (authorization, text(&me["id"]))
            }
            (.., Some(phone)) => {
                let body = serde_json::json!({ "phone": phone, "password": password });
                let body = ask(server, "POST", "/api/auth/login", "", &body).await?;
                (format!("Bearer {}", text(&body["access_token"])), text(&body["user"]["id"]))
            }
            _ => return Err(CliError("give --phone, --token, --api-token or --janus".into(), 64)),
        };
        let run = format!("bench-{run}");
        Ok(TargetServer::SecureVox { server: server.to_owned(), authorization, user, run })
    }

    async fn measure(&self, door: TargetServer, pid: Option<u32>) -> Result<BenchReport, CliError> {
        let (stage, watched) = watch::channel(LoadPhase::Publish);
        let (said, mut heard) = mpsc::unbounded_channel();
        let all = self.rooms * self.subscribers;
        let world = Arc::new(LoadContext {
            door,
            zero: target::now(),
            pps: self.pps,
            burst: Duration::from_millis(self.burst_ms.max(1)),
            stage: watched,
            said,
            delays: DelayHistogram::new(),
            joining: Semaphore::new(if self.join_storm { all.max(1) } else { 1 }),
        });
        let mut roles = vec![Vec::new(); self.threads.max(1)];
        for (number, role) in (0u32..).zip(self.roles()) {
            let threads = roles.len();
            roles[number as usize % threads].push(LoadRole { number, ..role });
        }
        let threads: Vec<_> = roles
            .into_iter()
            .map(|roles| {
                let world = Arc::clone(&world);
                std::thread::spawn(move || load::run(&world, &roles).map_err(|failure| failure.0))
            })
            .collect();
        let figures = self.conduct(&stage, &mut heard, &world.delays, pid).await;
        let _ = stage.send(LoadPhase::End); // also when something went wrong
        for thread in threads {
            let ended = thread.join().map_err(|_| wire::wrong("a thread of clients panicked"))?;
            ended.map_err(wire::wrong)?;
        }
        figures
    }

    fn roles(&self) -> impl Iterator<Item = LoadRole> {
        let people = self.publishers + self.subscribers;
        (0..self.rooms).flat_map(move |room| {
            (0..people).map(move |n| LoadRole { number: 0, room, publishes: n < self.publishers })
        })
    }

    /// Leads everybody through the stages.
    async fn conduct(
        &self,
        stage: &watch::Sender<LoadPhase>,
        heard: &mut mpsc::UnboundedReceiver<ParticipantReport>,
        delays: &DelayHistogram,
        pid: Option<u32>,
    ) -> Result<BenchReport, CliError> {
        let cpu = || pid.map(Cpu::of).unwrap_or_default();
        let resident = || pid.map(process::resident).unwrap_or_default() as f64;
        let (publishers, all) = (self.rooms * self.publishers, self.rooms * self.subscribers);
        for _ in 0..publishers {
            next(heard).await?;
        }
        tokio::time::sleep(SETTLE).await;

        let (before, memory, began) = (cpu(), resident(), target::now());
        stage.send(LoadPhase::Join)?;
        let (mut connects, mut firsts) = (Vec::new(), Vec::new());
        while connects.len() < all {
            if let ParticipantReport::Receives(connect, first) = next(heard).await? {
                connects.push(connect.as_secs_f64() * 1e3);
                firsts.push(first.as_secs_f64() * 1e3);
            }
        }
        let (joined, joins) = (target::now() - began, cpu().since(before));
        tokio::time::sleep(SETTLE).await;

        let (before, own, began) = (cpu(), Cpu::of(std::process::id()), target::now());
        stage.send(LoadPhase::Measure)?;
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let (used, own) = (cpu().since(before), Cpu::of(std::process::id()).since(own));
        let (took, grown) = ((target::now() - began).as_secs_f64(), resident() - memory);
        stage.send(LoadPhase::End)?;
        let (mut sent, mut tally) = (0, PacketCounts::default());
        for _ in 0..publishers + all {
            if let ParticipantReport::Counted(more, counts) = next(heard).await? {
                sent += more;
                tally.received += counts.received;
                tally.missing += counts.missing;
                tally.repaired += counts.repaired;
            }
        }

        connects.sort_by(f64::total_cmp);
        firsts.sort_by(f64::total_cmp);
        let forwarded = tally.received as f64;
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let lost = tally.missing.saturating_sub(tally.repaired) as f64;
        Ok(BenchReport {
            rooms: self.rooms,
            publishers: self.publishers,
            subscribers: self.subscribers,
            sent_per_second: sent as f64 / took,
            forwarded_per_second: forwarded / took,
            missing: tally.missing,
            repaired: tally.repaired,
            loss_percent: lost * 100.0 / (forwarded + lost).max(1.0),
            delay_p50: delays.quantile(0.5),
            delay_p99: delays.quantile(0.99),
            connect_p50: at(&connects, 50),
            connect_p99: at(&connects, 99),
            first_packet_p50: at(&firsts, 50),
            first_packet_p99: at(&firsts, 99),
            joined_in: joined.as_secs_f64() * 1e3,
            client_percent: own.total().as_secs_f64() * 100.0 / took,
            server: pid.map(|_| ProcessUsage {
                cpu_per_packet: micros(used.total()) / forwarded,
                cpu_per_packet_user: micros(used.user) / forwarded,
                cpu_percent: used.total().as_secs_f64() * 100.0 / took,
                cpu_per_join: micros(joins.total()) / (all as f64),
                memory_per_subscriber: grown / (all as f64),
            }),
        })
    }
}

async fn next(
    heard: &mut mpsc::UnboundedReceiver<ParticipantReport>,
) -> Result<ParticipantReport, CliError> {
    match tokio::time::timeout(wire::PATIENCE * 2, heard.recv()).await? {
        Some(ParticipantReport::Failed(words)) => Err(wire::wrong(words)),
        Some(said) => Ok(said),
        None => Err(wire::wrong("everybody is gone")),
    }
}

/// Of sorted values, the one that so many percent do not exceed.
fn at(values: &[f64], percent: usize) -> f64 {
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(f64::NAN)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn table(it: &BenchReport) -> String {
    let mut rows = vec![
        ("sent", format!("{:.0} packets/s", it.sent_per_second)),
        ("forwarded", format!("{:.0} packets/s", it.forwarded_per_second)),
        (
            "loss",
            format!("{:.3} % ({} missing, {} repaired)", it.loss_percent, it.missing, it.repaired),
        ),
        ("added delay", format!("p50 {:.2} · p99 {:.2} ms", it.delay_p50, it.delay_p99)),
        ("connected", format!("p50 {:.1} · p99 {:.1} ms", it.connect_p50, it.connect_p99)),
        (
            "first packet",
            format!("p50 {:.1} · p99 {:.1} ms", it.first_packet_p50, it.first_packet_p99),
        ),
        ("all joined in", format!("{:.0} ms", it.joined_in)),
        ("load generator", format!("{:.0} % of a core", it.client_percent)),
    ];
    match &it.server {
        Some(cost) => rows.extend([
            (
                "server",
                format!(
                    "{:.2} µs per packet ({:.2} user), {:.0} % of a core",
                    cost.cpu_per_packet, cost.cpu_per_packet_user, cost.cpu_percent
                ),
            ),
            ("server, join", format!("{:.1} ms of CPU", cost.cpu_per_join / 1e3)),
            ("server, memory", format!("{:.0} KiB per subscriber", cost.memory_per_subscriber)),
        ]),
        None => rows.push(("server", "not on this machine".to_owned())),
    }
    let line = |(name, value): &(&str, String)| format!("{name:16} {value}");
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
