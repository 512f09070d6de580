//! Participants on real sockets: one task each, many on one thread.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use media::test_peer::{PacketCounts, TestPeer};
use securevox::actors::media::{BATCH, DatagramBatch};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::Failure;
use crate::target::{JoinedParticipant, TargetServer, now};
use crate::wire::REPLY_TIMEOUT;

/// Audio packets per second (20 ms each).
const AUDIO_PACKETS_PER_SECOND: u32 = 50;
/// Video frames per second.
const FRAMES_PER_SECOND: u32 = 30;
/// How often a handshake is polled: the peer's own waiting counts as connect time.
const HANDSHAKE_POLL_INTERVAL: Duration = Duration::from_millis(1);
/// Size of socket buffers: a burst of packets for one peer must fit.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// The phases of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LoadPhase {
    /// Publishers join.
    Publish,
    /// Subscribers join.
    Join,
    /// All have joined; packets are counted.
    Measure,
    /// All participants end.
    End,
}

/// What a participant reports.
pub(super) enum ParticipantReport {
    /// A publisher is connected.
    Publishes,
    /// A subscriber receives media. Both times count from its request to join.
    Receives { connected: Duration, first_packet: Duration },
    /// Packets sent and received during the measurement.
    Counted { sent: u64, received: PacketCounts },
    /// It failed, with this message.
    Failed(String),
}

/// Histogram of packet delays, in steps of ten microseconds up to half a second.
pub(super) struct DelayHistogram(Box<[AtomicU64]>);

/// Width of a step in nanoseconds.
const STEP: u64 = 10_000;
const STEPS: usize = 50_000;

impl DelayHistogram {
    pub(super) fn new() -> Self {
        Self((0..STEPS).map(|_| AtomicU64::new(0)).collect())
    }

    fn add(&self, nanoseconds: u64) {
        let step = usize::try_from(nanoseconds / STEP).unwrap_or(STEPS);
        if let Some(count) = self.0.get(step.min(STEPS - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The delay in milliseconds that `share` (0 to 1) of all packets did not exceed; NaN without packets.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let counts = || self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let wanted = counts().sum::<u64>() as f64 * share;
        let mut seen = 0;
        let at = counts().position(|count| {
            seen += count;
            seen as f64 >= wanted && seen > 0
        });
        at.map_or(f64::NAN, |at| (at + 1) as f64 * STEP as f64 / 1e6)
    }
}

/// What all participants share.
pub(super) struct LoadContext {
    pub(super) target: TargetServer,
    /// Zero of the nanosecond time stamps in packets.
    pub(super) epoch: Instant,
    /// Video packets per second of each publisher.
    pub(super) video_packets_per_second: u32,
    /// A publisher sends together what falls into this time.
    pub(super) burst: Duration,
    pub(super) phases: watch::Receiver<LoadPhase>,
    pub(super) reports: mpsc::UnboundedSender<ParticipantReport>,
    pub(super) delays: DelayHistogram,
    /// Permits to join; one if participants join one after the other.
    pub(super) joining: Semaphore,
}

/// The part of one participant.
#[derive(Clone, Copy)]
pub(super) struct LoadRole {
    pub(super) number: u32,
    pub(super) room: usize,
    pub(super) publishes: bool,
}

/// Runs participants on this thread until the end.
pub(super) fn run(context: &Arc<LoadContext>, roles: &[LoadRole]) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let batch = RefCell::new(DatagramBatch::new());
    let all = roles.iter().map(|role| async {
        if let Err(failure) = take_part(context, *role, &batch).await {
            let _ = context.reports.send(ParticipantReport::Failed(failure.to_string())); // the receiver may have given up
        }
    });
    runtime.block_on(futures_util::future::join_all(all));
    Ok(())
}

async fn take_part(
    context: &LoadContext,
    role: LoadRole,
    batch: &RefCell<DatagramBatch>,
) -> Result<(), Failure> {
    let mut phase = context.phases.clone();
    let first = if role.publishes { LoadPhase::Publish } else { LoadPhase::Join };
    if *phase.wait_for(|phase| *phase >= first).await? == LoadPhase::End {
        return Ok(()); // another participant failed
    }
    let permit = if role.publishes { None } else { Some(context.joining.acquire().await?) };
    let mut udp = open(Ipv4Addr::UNSPECIFIED.into())?;
    let mut client = TestPeer::new(now(), role.number * 64 + 1)?;
    let local = udp.local_addr()?;
    let joined = if role.publishes {
        context.target.publish(role.room, &mut client, local).await?
    } else {
        context.target.subscribe(role.room, &mut client, local).await?
    };
    if joined.address.is_ipv6() {
        udp = open(Ipv6Addr::UNSPECIFIED.into())?;
    }
    udp.connect(joined.address).await?;
    let participant = LoadParticipant {
        context,
        role,
        client,
        udp,
        batch,
        joined_at: joined.joined_at,
        connected: None,
        received_any: false,
        pace: PacingState::default(),
        counted: None,
    };
    participant.run(joined, phase, permit).await
}

fn open(any: IpAddr) -> Result<UdpSocket, Failure> {
    let any = SocketAddr::from((any, 0));
    let domain = socket2::Domain::for_address(any);
    let udp = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    udp.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    udp.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    udp.set_nonblocking(true)?;
    udp.bind(&any.into())?;
    Ok(UdpSocket::from_std(udp.into())?)
}

/// What a publisher has sent so far.
#[derive(Default)]
struct PacingState {
    began: Option<Instant>,
    video: u64,
    audio: u64,
}

struct LoadParticipant<'a> {
    context: &'a LoadContext,
    role: LoadRole,
    client: TestPeer,
    udp: UdpSocket,
    batch: &'a RefCell<DatagramBatch>,
    joined_at: Instant,
    connected: Option<Duration>,
    received_any: bool,
    pace: PacingState,
    /// Packets sent and received when the measurement began.
    counted: Option<(u64, PacketCounts)>,
}

impl LoadParticipant<'_> {
    async fn run(
        mut self,
        JoinedParticipant { mut socket, joined_at, .. }: JoinedParticipant,
        mut phase: watch::Receiver<LoadPhase>,
        mut permit: Option<tokio::sync::SemaphorePermit<'_>>,
    ) -> Result<(), Failure> {
        loop {
            let due = match self.pace.began {
                Some(_) => self.client.next_timeout().min(now() + self.context.burst),
                None if self.connected.is_none() => now() + HANDSHAKE_POLL_INTERVAL,
                None => self.client.next_timeout(),
            };
            tokio::select! {
                biased;
                changed = phase.changed() => changed?,
                ready = self.udp.readable() => ready?,
                () = tokio::time::sleep_until(due.into()) => {}
                message = socket.receive() => drop(message?),
            }
            let now = now();
            let phase = *phase.borrow();
            let measured = phase == LoadPhase::Measure;
            if measured && self.counted.is_none() {
                self.counted = Some((self.pace.video + self.pace.audio, self.client.tally()));
            }
            self.read(measured);
            let udp = &self.udp;
            self.client.timeout(now, |datagram| drop(udp.try_send(datagram))); // a full socket buffer is packet loss
            self.report_connected(now);
            if self.received_any || self.role.publishes && self.connected.is_some() {
                permit = None;
            }
            if self.role.publishes && self.connected.is_some() {
                self.publish(now);
            }
            if phase == LoadPhase::End {
                self.report_counts();
                return Ok(());
            }
            if permit.is_some() && now > joined_at + REPLY_TIMEOUT {
                return Err("no media arrived".into());
            }
        }
    }

    fn read(&mut self, measured: bool) {
        let batch = &mut *self.batch.borrow_mut();
        loop {
            let socket = self.udp.as_raw_fd();
            let read = self.udp.try_io(Interest::READABLE, || batch.receive(socket));
            let Ok(count) = read else { return };
            let now = now();
            let since = now.saturating_duration_since(self.context.epoch).as_nanos() as u64;
            for i in 0..count {
                let Some((_, datagram)) = batch.datagram(i) else { continue };
                let Some(arrival) = self.client.receive(now, datagram) else { continue };
                if !std::mem::replace(&mut self.received_any, true) {
                    let first = now.saturating_duration_since(self.joined_at);
                    let connected = *self.connected.get_or_insert(first);
                    let _ = self
                        .context
                        .reports
                        .send(ParticipantReport::Receives { connected, first_packet: first });
                }
                if measured && !arrival.again {
                    self.context.delays.add(since.saturating_sub(arrival.stamp));
                }
            }
            if count < BATCH {
                return;
            }
        }
    }

    fn report_connected(&mut self, now: Instant) {
        if self.connected.is_none() && self.client.is_connected() {
            self.connected = Some(now.saturating_duration_since(self.joined_at));
            if self.role.publishes {
                let _ = self.context.reports.send(ParticipantReport::Publishes);
            }
        }
    }

    fn report_counts(&self) {
        let Some((sent, before)) = self.counted else { return };
        let (sent, after) = (self.pace.video + self.pace.audio - sent, self.client.tally());
        let counts = PacketCounts {
            received: after.received - before.received,
            repaired: after.repaired - before.repaired,
            missing: after.missing.saturating_sub(before.missing),
        };
        let _ = self.context.reports.send(ParticipantReport::Counted { sent, received: counts });
    }

    /// Sends the packets that are due at `now`.
    fn publish(&mut self, now: Instant) {
        let began = *self.pace.began.get_or_insert(now);
        let elapsed = now.saturating_duration_since(began).as_secs_f64();
        let due = |rate: u32| (elapsed * f64::from(rate)) as u64;
        let frame_packets =
            u64::from((self.context.video_packets_per_second / FRAMES_PER_SECOND).max(1));
        let stamp = now.saturating_duration_since(self.context.epoch).as_nanos() as u64;
        let udp = &self.udp;
        let send = |datagram: &[u8]| drop(udp.try_send(datagram));
        while self.pace.video < due(self.context.video_packets_per_second) {
            let part = self.pace.video % frame_packets;
            let (first, last) = (part == 0, part == frame_packets - 1);
            self.client.publish(now, 0, stamp, (first, last), send);
            self.pace.video += 1;
        }
        while self.pace.audio < due(AUDIO_PACKETS_PER_SECOND) {
            self.client.publish(now, 1, stamp, (true, true), send);
            self.pace.audio += 1;
        }
    }
}
