//! `securevox-loadgen`: loads a server with calls and reports what they cost it.

mod participant;
mod process;
mod report;
mod target;
mod wire;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use media::test_peer::PacketCounts;
use participant::{DelayHistogram, LoadContext, LoadPhase, LoadRole, ParticipantReport};
use process::CpuTime;
use report::{LoadReport, Measurement};
use serde_json::{Value, json};
use target::TargetServer;
use tokio::sync::{Semaphore, mpsc, watch};

/// Any failure; it ends the run. It crosses threads, hence `Send + Sync`.
type Failure = Box<dyn Error + Send + Sync>;

/// Wait after the last join, and before the first, until media is steady enough to be measured.
const SETTLE_TIME: Duration = Duration::from_millis(1500);

/// Loads a server with calls: publishers and subscribers of synthetic VP8 and Opus.
#[derive(Parser)]
#[command(name = "securevox-loadgen", version)]
struct Arguments {
    /// Host and port of the server's plain HTTP listener.
    #[arg(long, default_value = "127.0.0.1:8080")]
    server: String,
    /// Phone number of the account whose devices take part; its password is asked for, or read from standard input.
    #[arg(long)]
    phone: Option<String>,
    /// Access token of that account, instead of its phone number.
    #[arg(long, env = "SECUREVOX_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// API token with the scope calls:token; needs --user.
    #[arg(long, requires = "user", hide_env_values = true)]
    api_token: Option<String>,
    /// Id of the user for whom the API token makes call tokens.
    #[arg(long)]
    user: Option<String>,
    /// Host and port of the WebSocket interface of a Janus with the videoroom plugin, loaded instead of SecureVOX.
    #[arg(long)]
    janus: Option<String>,
    /// Rooms at once.
    #[arg(long, default_value_t = 1)]
    rooms: usize,
    /// Publishers in each room.
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// Subscribers in each room; each receives everything.
    #[arg(long, default_value_t = 30)]
    subscribers: usize,
    /// Length of the measurement in seconds.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Video packets of 1,180 bytes per second and publisher; 50 audio packets per second come with them. A
    /// subscriber is sent at most 8 Mbit/s, and no layer that needs more.
    #[arg(long, default_value_t = 700)]
    pps: u32,
    /// A publisher sends together what falls into this many milliseconds.
    #[arg(long, default_value_t = 1)]
    burst_ms: u64,
    /// All subscribers join at the same time instead of one after the other.
    #[arg(long)]
    join_storm: bool,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Process id of the server on this machine; by default the process that listens on the server's port.
    #[arg(long)]
    pid: Option<u32>,
    /// Print one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.run() {
        Ok(report) => {
            #[expect(clippy::print_stdout, reason = "the report is the program's output")]
            {
                println!("{report}");
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            #[expect(clippy::print_stderr, reason = "a command line reports its failure there")]
            {
                eprintln!("securevox-loadgen: {failure}");
            }
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn run(&self) -> Result<String, Failure> {
        let password = match (&self.phone, &self.token, &self.api_token, &self.janus) {
            (Some(_), None, None, None) => read_password()?,
            _ => String::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let target = self.target(&password).await?;
            let address = self.janus.as_ref().unwrap_or(&self.server);
            let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
            let pid = self.pid.or_else(|| process::listening(port?));
            let report = self.measure(target, pid).await?;
            Ok(if self.json { serde_json::to_string(&report)? } else { report.table() })
        })
    }

    async fn target(&self, password: &str) -> Result<TargetServer, Failure> {
        // A new run uses new room names, so that no participant of an earlier run is in them.
        let run = u64::from(std::process::id()) * 1000;
        if let Some(janus) = &self.janus {
            return Ok(TargetServer::Janus {
                server: janus.clone(),
                feeds: std::sync::Mutex::default(),
                run,
            });
        }
        let server = &self.server;
        let (authorization, user) = match (&self.api_token, &self.user, &self.token, &self.phone) {
            (Some(token), Some(user), ..) => (format!("Token {token}"), user.clone()),
            (_, _, Some(token), _) => {
                let authorization = format!("Bearer {token}");
                let me =
                    wire::request(server, "GET", "/api/me", &authorization, &Value::Null).await?;
                (authorization, text(&me["id"]))
            }
            (.., Some(phone)) => {
                let body = json!({ "phone": phone, "password": password });
                let body = wire::request(server, "POST", "/api/auth/login", "", &body).await?;
                (format!("Bearer {}", text(&body["access_token"])), text(&body["user"]["id"]))
            }
            _ => return Err("give --phone, --token, --api-token or --janus".into()),
        };
        let run = format!("bench-{run}");
        Ok(TargetServer::SecureVox { server: server.clone(), authorization, user, run })
    }

    async fn measure(&self, target: TargetServer, pid: Option<u32>) -> Result<LoadReport, Failure> {
        let (phase, phases) = watch::channel(LoadPhase::Publish);
        let (sender, mut reports) = mpsc::unbounded_channel();
        let subscribers = self.rooms * self.subscribers;
        let joining = if self.join_storm { subscribers.max(1) } else { 1 };
        let context = Arc::new(LoadContext {
            target,
            epoch: target::now(),
            video_packets_per_second: self.pps,
            burst: Duration::from_millis(self.burst_ms.max(1)),
            phases,
            reports: sender,
            delays: DelayHistogram::new(),
            joining: Semaphore::new(joining),
        });
        let mut roles = vec![Vec::new(); self.threads.max(1)];
        for (number, role) in (0u32..).zip(self.roles()) {
            let threads = roles.len();
            roles[number as usize % threads].push(LoadRole { number, ..role });
        }
        let threads: Vec<_> = roles
            .into_iter()
            .map(|roles| {
                let context = Arc::clone(&context);
                std::thread::spawn(move || participant::run(&context, &roles))
            })
            .collect();
        let report = self.run_phases(&phase, &mut reports, &context.delays, pid).await;
        let _ = phase.send(LoadPhase::End); // also after a failure
        for thread in threads {
            thread.join().map_err(|_| "a thread of participants panicked")??;
        }
        report
    }

    fn roles(&self) -> impl Iterator<Item = LoadRole> {
        let participants = self.publishers + self.subscribers;
        (0..self.rooms).flat_map(move |room| {
            (0..participants).map(move |n| LoadRole {
                number: 0,
                room,
                publishes: n < self.publishers,
            })
        })
    }

    /// Takes all participants through the phases and collects what they report.
    async fn run_phases(
        &self,
        phase: &watch::Sender<LoadPhase>,
        reports: &mut mpsc::UnboundedReceiver<ParticipantReport>,
        delays: &DelayHistogram,
        pid: Option<u32>,
    ) -> Result<LoadReport, Failure> {
        let cpu = || pid.map(CpuTime::of).unwrap_or_default();
        let resident = || pid.map(process::resident_kib).unwrap_or_default();
        let (publishers, subscribers) =
            (self.rooms * self.publishers, self.rooms * self.subscribers);
        for _ in 0..publishers {
            next(reports).await?;
        }
        tokio::time::sleep(SETTLE_TIME).await;

        let (cpu_before, resident_before, began) = (cpu(), resident(), target::now());
        phase.send(LoadPhase::Join)?;
        let (mut connects, mut first_packets) = (Vec::new(), Vec::new());
        while connects.len() < subscribers {
            if let ParticipantReport::Receives { connected, first_packet } = next(reports).await? {
                connects.push(connected.as_secs_f64() * 1e3);
                first_packets.push(first_packet.as_secs_f64() * 1e3);
            }
        }
        let (join_time, join_cpu) = (target::now() - began, cpu().since(cpu_before));
        tokio::time::sleep(SETTLE_TIME).await;

        let own_pid = std::process::id();
        let (cpu_before, own_before, began) = (cpu(), CpuTime::of(own_pid), target::now());
        phase.send(LoadPhase::Measure)?;
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let (server_cpu, own_cpu) =
            (cpu().since(cpu_before), CpuTime::of(own_pid).since(own_before));
        let elapsed = target::now() - began;
        let grown_kib = resident().saturating_sub(resident_before);
        phase.send(LoadPhase::End)?;
        let (mut sent, mut counts) = (0, PacketCounts::default());
        for _ in 0..publishers + subscribers {
            if let ParticipantReport::Counted { sent: more, received } = next(reports).await? {
                sent += more;
                counts.received += received.received;
                counts.missing += received.missing;
                counts.repaired += received.repaired;
            }
        }
        let measurement = Measurement {
            sent,
            counts,
            elapsed,
            connects,
            first_packets,
            join_time,
            join_cpu,
            server_cpu,
            own_cpu,
            grown_kib,
        };
        let shape = (self.rooms, self.publishers, self.subscribers);
        Ok(LoadReport::new(shape, measurement, delays, pid.is_some()))
    }
}

async fn next(
    reports: &mut mpsc::UnboundedReceiver<ParticipantReport>,
) -> Result<ParticipantReport, Failure> {
    match tokio::time::timeout(wire::REPLY_TIMEOUT * 2, reports.recv()).await? {
        Some(ParticipantReport::Failed(text)) => Err(text.into()),
        Some(report) => Ok(report),
        None => Err("all participants have ended".into()),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn read_password() -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        return Ok(rpassword::prompt_password("password: ")?);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
