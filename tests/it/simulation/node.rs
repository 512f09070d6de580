//! The lives of a simulated node, and the devices that speak to it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::clock::{Clock, Timestamp};
use base::ids::UserId;
use base::random::RandomSource;
use securevox::actors::membership::{self, LeaveCluster, Membership};
use securevox::actors::peer_nodes::PeerNodes;
use securevox::actors::supervision::{
    LaunchOptions, RunningTree, Strategy, child, dynamic_supervisor, launch, supervisor,
};
use securevox::cluster::{Bus, NodeLeases};
use tokio::time::Instant;

use super::broker::SIGN;
use super::database::{Client, NOTICED};
use super::house::{Ear, House, Parts, rooms_of};
use super::line::Line;
use super::post::{Letter, Said, Say, Wire};
use super::room::Room;
use super::{Command, KEYS, NODES, Shared};

/// Carries what comes to whom it concerns.
struct Reader {
    /// When it was last heard that the lock is held.
    locked: Arc<Mutex<Option<Instant>>>,
    house: House,
    line: Line,
    wire: Wire,
}

impl Reader {
    async fn read(self) {
        loop {
            let (host, letter) = self.wire.next().await;
            match letter {
                Letter::Locked(node) if node == self.house.me() => {
                    *self.locked.lock().unwrap() = Some(Instant::now());
                }
                Letter::Transacted { ask, answer } => self.wire.answered(ask, answer),
                Letter::FromBroker { to, queue, seq, frame } if to == self.house.me() => {
                    self.line.hear(queue, seq, frame);
                }
                Letter::Say { ask, say } => {
                    let (house, wire) = (self.house.clone(), self.wire.clone());
                    tokio::task::spawn_local(async move {
                        let said = house.say(say, false).await;
                        wire.send(&host, Letter::Said { ask, said });
                    });
                }
                _ => {}
            }
        }
    }
}

/// One life of a node, until it is told to leave.
pub async fn live(host: usize, shared: Shared) -> turmoil::Result {
    let me = shared.begin(host);
    let (wire, _socket) = Wire::bind(shared.post.clone()).await?;
    let client = Client(wire.clone());
    let chance = RandomSource::seeded(shared.seed ^ me.uuid().as_u64_pair().1);
    let clock =
        Clock::fixed_at(Timestamp::from_micros(i64::try_from(host).unwrap_or(0) * 30_000_000));
    let locked: Arc<Mutex<Option<Instant>>> = Arc::default();
    let heard = locked.clone();
    let is_locked = move || heard.lock().unwrap().is_some_and(|at| at.elapsed() < NOTICED);
    let leases = NodeLeases::new(
        Arc::new(client.clone()),
        clock.clone(),
        Arc::new(is_locked),
        me,
        format!("node-{host}"),
        String::new(),
    );
    let line = Line::new(me, wire.clone());
    let neighbours = PeerNodes::new(Arc::new(line.clone()));
    let rooms = dynamic_supervisor::<Room>("rooms", 2).transient();
    let house = House(Arc::new(Parts {
        leases: leases.clone(),
        client,
        neighbours: neighbours.clone(),
        rooms: rooms.handle(),
        shared: shared.clone(),
    }));
    let parts = membership::MembershipDeps {
        leases: leases.clone(),
        peer_nodes: neighbours.clone(),
        services: Arc::new(house.clone()),
    };
    let membership = child("membership", move |_| Membership::new(parts.clone()));
    let member = membership.handle();
    line.set_handler(Arc::new(Ear { house: house.clone(), membership: member.clone() }));
    let reader = Reader { locked, house: house.clone(), line: line.clone(), wire: wire.clone() };
    let reading = tokio::task::spawn_local(reader.read());
    let signing = tokio::task::spawn_local(async move {
        let mut sign = tokio::time::interval(SIGN);
        loop {
            sign.tick().await;
            line.sign();
            wire.send("database", Letter::Lock(me));
        }
    });
    while leases.join().await.is_err() {
        tokio::time::sleep(SIGN).await;
    }
    let options =
        LaunchOptions { random: chance, clock: clock.clone(), ..LaunchOptions::one_thread() };
    let root = supervisor("node", Strategy::RestForOne).with(rooms).with(membership);
    let living = launch(root, options).await?;
    let mut people = BTreeSet::new();
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        for command in shared.commands(host) {
            match command {
                Command::Leave => {
                    let _ = member.tell_control(LeaveCluster);
                    house.hand_over_all().await;
                    leave(&house, living, &shared).await;
                    let _ = leases.leave().await; // else its word ends by itself
                    reading.abort();
                    signing.abort();
                    return Ok(());
                }
                Command::Jump(by) => clock.advance(by),
                Command::Person(user) => {
                    let here = people.insert(user);
                    if !here {
                        people.remove(&user);
                    }
                    neighbours.set_connected(user, here);
                    shared.are_here(host, &people);
                }
                Command::Report => {
                    let mut wrong = house.complaints(NODES - 1, shared.people_besides(host));
                    let shown = rooms_of(living.tree().snapshot().into_iter().map(|e| e.path));
                    let there = house.rooms().iter().map(|room| room.path().to_owned()).collect();
                    if shown != there {
                        wrong.push(format!("the tree shows {shown:?}, there are {there:?}"));
                    }
                    wrong.into_iter().for_each(|wrong| shared.wrong(wrong));
                }
            }
        }
    }
}

/// Stops the tree; nothing may be left of it.
async fn leave(house: &House, living: RunningTree, shared: &Shared) {
    let tree = living.tree();
    living.shutdown(Duration::from_secs(10)).await;
    for entry in tree.snapshot() {
        shared.wrong(format!("{} outlived its tree", entry.path));
    }
    if !house.0.rooms.is_empty() {
        shared.wrong(format!("{} rooms outlived their tree", house.0.rooms.len()));
    }
}

/// A device: it says words until all is quiet, each until it is acknowledged.
pub async fn device(number: usize, shared: Shared) -> turmoil::Result {
    let (wire, _socket) = Wire::bind(shared.post.clone()).await?;
    let chance = RandomSource::seeded(shared.seed.wrapping_mul(31).wrapping_add(number as u64));
    let draw = |below: u64| u64::from_le_bytes(chance.bytes()) % below;
    let mut word = number as u64;
    let reading = wire.clone();
    tokio::task::spawn_local(async move {
        loop {
            if let (_, Letter::Said { ask, said }) = reading.next().await {
                reading.answered(ask, Box::new(said));
            }
        }
    });
    loop {
        if shared.is_quiet(number) {
            return Ok(());
        }
        word += 100;
        let key = KEYS[usize::try_from(draw(KEYS.len() as u64)).unwrap_or(0)].to_owned();
        loop {
            let say = Say { key: key.clone(), word, bang: draw(40) == 0 };
            let (ask, answer) = wire.ask();
            wire.send(&format!("node-{}", draw(NODES as u64)), Letter::Say { ask, say });
            let said = tokio::time::timeout(Duration::from_secs(2), answer).await;
            let said = said.ok().and_then(Result::ok).and_then(|said| said.downcast().ok());
            if said == Some(Box::new(Said::Done)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20 + draw(80))).await;
        }
        shared.acknowledged(&key, word);
        tokio::time::sleep(Duration::from_millis(10 + draw(100))).await;
    }
}

/// Somebody who comes and goes.
pub fn person(number: u64) -> UserId {
    UserId::from_uuid(uuid::Uuid::from_u128(1000 + u128::from(number)))
}
