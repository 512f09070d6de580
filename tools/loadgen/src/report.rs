//! What a run reports: one table for people, one line of JSON for `make bench`.

use std::time::Duration;

use media::test_peer::PacketCounts;
use serde::Serialize;

use crate::participant::DelayHistogram;
use crate::process::CpuTime;

/// The raw figures of a run.
pub(crate) struct Measurement {
    /// Packets that publishers sent while it was measured.
    pub(crate) sent: u64,
    /// Packets that subscribers received, missed and had repaired meanwhile.
    pub(crate) counts: PacketCounts,
    /// Length of the measurement.
    pub(crate) elapsed: Duration,
    /// Milliseconds from the join request to the connection, one for each subscriber.
    pub(crate) connects: Vec<f64>,
    /// Milliseconds from the join request to the first packet, one for each subscriber.
    pub(crate) first_packets: Vec<f64>,
    /// From the first join request to the last subscriber's first packet.
    pub(crate) join_time: Duration,
    /// CPU time of the server meanwhile.
    pub(crate) join_cpu: CpuTime,
    /// CPU time of the server during the measurement.
    pub(crate) server_cpu: CpuTime,
    /// CPU time of the load generator during the measurement.
    pub(crate) own_cpu: CpuTime,
    /// Growth of the server's resident memory in KiB since before the joins.
    pub(crate) grown_kib: u64,
}

/// The figures of a run. Times in milliseconds, memory in KiB, CPU time in microseconds.
#[derive(Serialize)]
pub(crate) struct LoadReport {
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
    server: Option<ServerCost>,
}

/// What the run cost the server's process.
#[derive(Serialize)]
struct ServerCost {
    cpu_per_packet: f64,
    cpu_per_packet_user: f64,
    cpu_percent: f64,
    cpu_per_join: f64,
    memory_per_subscriber: f64,
}

impl LoadReport {
    /// Computes the report; `shape` is rooms, publishers and subscribers per room.
    pub(crate) fn new(
        (rooms, publishers, subscribers): (usize, usize, usize),
        mut run: Measurement,
        delays: &DelayHistogram,
        server_is_local: bool,
    ) -> Self {
        run.connects.sort_by(f64::total_cmp);
        run.first_packets.sort_by(f64::total_cmp);
        let all_subscribers = (rooms * subscribers) as f64;
        let seconds = run.elapsed.as_secs_f64();
        let forwarded = run.counts.received as f64;
        let lost = run.counts.missing.saturating_sub(run.counts.repaired) as f64;
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Self {
            rooms,
            publishers,
            subscribers,
            sent_per_second: run.sent as f64 / seconds,
            forwarded_per_second: forwarded / seconds,
            missing: run.counts.missing,
            repaired: run.counts.repaired,
            loss_percent: lost * 100.0 / (forwarded + lost).max(1.0),
            delay_p50: delays.quantile(0.5),
            delay_p99: delays.quantile(0.99),
            connect_p50: percentile(&run.connects, 50),
            connect_p99: percentile(&run.connects, 99),
            first_packet_p50: percentile(&run.first_packets, 50),
            first_packet_p99: percentile(&run.first_packets, 99),
            joined_in: run.join_time.as_secs_f64() * 1e3,
            client_percent: run.own_cpu.total().as_secs_f64() * 100.0 / seconds,
            server: server_is_local.then(|| ServerCost {
                cpu_per_packet: micros(run.server_cpu.total()) / forwarded,
                cpu_per_packet_user: micros(run.server_cpu.user) / forwarded,
                cpu_percent: run.server_cpu.total().as_secs_f64() * 100.0 / seconds,
                cpu_per_join: micros(run.join_cpu.total()) / all_subscribers,
                memory_per_subscriber: run.grown_kib as f64 / all_subscribers,
            }),
        }
    }

    /// The report as a table for people.
    pub(crate) fn table(&self) -> String {
        let p50_p99 = |p50: f64, p99: f64| format!("p50 {p50:.2} · p99 {p99:.2} ms");
        let mut rows = vec![
            ("sent", format!("{:.0} packets/s", self.sent_per_second)),
            ("forwarded", format!("{:.0} packets/s", self.forwarded_per_second)),
            (
                "loss",
                format!(
                    "{:.3} % ({} missing, {} repaired)",
                    self.loss_percent, self.missing, self.repaired
                ),
            ),
            ("added delay", p50_p99(self.delay_p50, self.delay_p99)),
            ("connected", p50_p99(self.connect_p50, self.connect_p99)),
            ("first packet", p50_p99(self.first_packet_p50, self.first_packet_p99)),
            ("all joined in", format!("{:.0} ms", self.joined_in)),
            ("load generator", format!("{:.0} % of a core", self.client_percent)),
        ];
        match &self.server {
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
}

/// The value that `percent` of the sorted `values` do not exceed; NaN without values.
fn percentile(values: &[f64], percent: usize) -> f64 {
    let index = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or(f64::NAN)
}
