//! Participants on real sockets: one task each, many on a thread.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use media::client::{PacketCounts, TestPeer};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc, watch};

use super::target::{JoinedParticipant, TargetServer, now};
use super::wire::{PATIENCE, wrong};
use crate::actors::media::{BATCH, DatagramBatch};
use crate::cli::CliError;

/// Sounds per second.
const SOUNDS: u32 = 50;
/// Pictures per second.
const PICTURES: u32 = 30;
/// How often a handshake is looked after: what the client itself waits counts as its time to connect.
const HANDSHAKE: Duration = Duration::from_millis(1);
/// A burst of packets for one client must fit.
const BUFFER: usize = 4 << 20;

/// What all participants are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LoadPhase {
    /// Publishers come.
    Publish,
    /// Subscribers come.
    Join,
    /// Everybody is there, and what comes is counted.
    Measure,
    /// It is over.
    End,
}

/// What participants tell.
pub(super) enum ParticipantReport {
    /// A publisher is connected.
    Publishes,
    /// A subscriber receives: how long after it asked for the room it was connected, and the first
    /// packet came.
    Receives(Duration, Duration),
    /// What was sent and what came while it was measured.
    Counted(u64, PacketCounts),
    /// It cannot go on.
    Failed(String),
}

/// How long packets took, in steps of ten microseconds.
pub(super) struct DelayHistogram(Box<[AtomicU64]>);

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

    /// The delay that this share of all packets did not exceed, in milliseconds.
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
    pub(super) door: TargetServer,
    /// Since when stamps are counted, in nanoseconds.
    pub(super) zero: Instant,
    /// Packets of pictures per second and publisher.
    pub(super) pps: u32,
    /// Publishers send together what falls into this time.
    pub(super) burst: Duration,
    pub(super) stage: watch::Receiver<LoadPhase>,
    pub(super) said: mpsc::UnboundedSender<ParticipantReport>,
    pub(super) delays: DelayHistogram,
    /// How many may be joining.
    pub(super) joining: Semaphore,
}

/// Who somebody is.
#[derive(Clone, Copy)]
pub(super) struct LoadRole {
    pub(super) number: u32,
    pub(super) room: usize,
    pub(super) publishes: bool,
}

/// Runs participants on this thread until the end.
pub(super) fn run(world: &Arc<LoadContext>, roles: &[LoadRole]) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let batch = RefCell::new(DatagramBatch::new());
    let all = roles.iter().map(|role| async {
        if let Err(CliError(words, _)) = take_part(world, *role, &batch).await {
            let _ = world.said.send(ParticipantReport::Failed(words)); // whoever waits for it may have given up
        }
    });
    runtime.block_on(futures_util::future::join_all(all));
    Ok(())
}

async fn take_part(
    world: &LoadContext,
    role: LoadRole,
    batch: &RefCell<DatagramBatch>,
) -> Result<(), CliError> {
    let mut stage = world.stage.clone();
    let first = if role.publishes { LoadPhase::Publish } else { LoadPhase::Join };
    if *stage.wait_for(|stage| *stage >= first).await? == LoadPhase::End {
        return Ok(()); // others failed
    }
    let turn = if role.publishes { None } else { Some(world.joining.acquire().await?) };
    let mut udp = open(Ipv4Addr::UNSPECIFIED.into())?;
    let mut client = TestPeer::new(now(), role.number * 64 + 1)?;
    let local = udp.local_addr()?;
    let seat = if role.publishes {
        world.door.publish(role.room, &mut client, local).await?
    } else {
        world.door.subscribe(role.room, &mut client, local).await?
    };
    if seat.address.is_ipv6() {
        udp = open(Ipv6Addr::UNSPECIFIED.into())?;
    }
    udp.connect(seat.address).await?;
    let participant = LoadParticipant {
        world,
        role,
        client,
        udp,
        batch,
        asked: seat.asked,
        connected: None,
        seen: false,
        pace: PacingState::default(),
        counted: None,
    };
    participant.live(seat, stage, turn).await
}

fn open(any: IpAddr) -> Result<UdpSocket, CliError> {
    let any = SocketAddr::from((any, 0));
    let domain = socket2::Domain::for_address(any);
    let udp = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    udp.set_recv_buffer_size(BUFFER)?;
    udp.set_send_buffer_size(BUFFER)?;
    udp.set_nonblocking(true)?;
    udp.bind(&any.into())?;
    Ok(UdpSocket::from_std(udp.into())?)
}

/// What a publisher has sent.
#[derive(Default)]
struct PacingState {
    began: Option<Instant>,
    video: u64,
    audio: u64,
}

struct LoadParticipant<'a> {
    world: &'a LoadContext,
    role: LoadRole,
    client: TestPeer,
    udp: UdpSocket,
    batch: &'a RefCell<DatagramBatch>,
    asked: Instant,
    connected: Option<Duration>,
    seen: bool,
    pace: PacingState,
    /// Packets sent and received when the measurement began.
    counted: Option<(u64, PacketCounts)>,
}

impl LoadParticipant<'_> {
    async fn live(
        mut self,
        JoinedParticipant { mut socket, asked, .. }: JoinedParticipant,
        mut stage: watch::Receiver<LoadPhase>,
        mut turn: Option<tokio::sync::SemaphorePermit<'_>>,
    ) -> Result<(), CliError> {
        loop {
            let due = match self.pace.began {
                Some(_) => self.client.next_timeout().min(now() + self.world.burst),
                None if self.connected.is_none() => now() + HANDSHAKE,
                None => self.client.next_timeout(),
            };
            tokio::select! {
                biased;
                changed = stage.changed() => changed?,
                ready = self.udp.readable() => ready?,
                () = tokio::time::sleep_until(due.into()) => {}
                heard = socket.hear() => drop(heard?),
            }
            let now = now();
            let stage = *stage.borrow();
            let measured = stage == LoadPhase::Measure;
            if measured && self.counted.is_none() {
                self.counted = Some((self.pace.video + self.pace.audio, self.client.tally()));
            }
            self.read(measured);
            let udp = &self.udp;
            self.client.timeout(now, |datagram| drop(udp.try_send(datagram))); // as lost on the way
            self.tell_progress(now);
            if self.seen || self.role.publishes && self.connected.is_some() {
                turn = None;
            }
            if self.role.publishes && self.connected.is_some() {
                self.publish(now);
            }
            if stage == LoadPhase::End {
                self.tell_counts();
                return Ok(());
            }
            if turn.is_some() && now > asked + PATIENCE {
                return Err(wrong("no media came"));
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
            let since = now.saturating_duration_since(self.world.zero).as_nanos() as u64;
            for i in 0..count {
                let Some((_, datagram)) = batch.datagram(i) else { continue };
                let Some(arrival) = self.client.receive(now, datagram) else { continue };
                if !std::mem::replace(&mut self.seen, true) {
                    let first = now.saturating_duration_since(self.asked);
                    let connected = *self.connected.get_or_insert(first);
                    let _ = self.world.said.send(ParticipantReport::Receives(connected, first));
                }
                if measured && !arrival.again {
                    self.world.delays.add(since.saturating_sub(arrival.stamp));
                }
            }
            if count < BATCH {
                return;
            }
        }
    }

    fn tell_progress(&mut self, now: Instant) {
        if self.connected.is_none() && self.client.is_connected() {
            self.connected = Some(now.saturating_duration_since(self.asked));
            if self.role.publishes {
                let _ = self.world.said.send(ParticipantReport::Publishes);
            }
        }
    }

    fn tell_counts(&self) {
        let Some((sent, before)) = self.counted else { return };
        let (sent, after) = (self.pace.video + self.pace.audio - sent, self.client.tally());
        let tally = PacketCounts {
            received: after.received - before.received,
            repaired: after.repaired - before.repaired,
            missing: after.missing.saturating_sub(before.missing),
        };
        let _ = self.world.said.send(ParticipantReport::Counted(sent, tally));
    }

    /// Sends what is due.
    fn publish(&mut self, now: Instant) {
        let began = *self.pace.began.get_or_insert(now);
        let lived = now.saturating_duration_since(began).as_secs_f64();
        let due = |rate: u32| (lived * f64::from(rate)) as u64;
        let picture = u64::from((self.world.pps / PICTURES).max(1));
        let stamp = now.saturating_duration_since(self.world.zero).as_nanos() as u64;
        let udp = &self.udp;
        let send = |datagram: &[u8]| drop(udp.try_send(datagram));
        while self.pace.video < due(self.world.pps) {
            let part = self.pace.video % picture;
            let place = (part == 0, part == picture - 1);
            self.client.publish(now, 0, stamp, place, send);
            self.pace.video += 1;
        }
        while self.pace.audio < due(SOUNDS) {
            self.client.publish(now, 1, stamp, (true, true), send);
            self.pace.audio += 1;
        }
    }
}
