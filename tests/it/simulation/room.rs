//! A room of a call as far as ownership goes: it writes words down under its fence before it
//! answers, remembers them, and lets go when it is not sure.

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Message, ResponseActFuture,
    WrapFuture,
};
use base::ids::NodeId;
use securevox::actors::supervision::{SupervisedContext, supervised};
use securevox::cluster::{NodeLeases, OwnershipDirectory};
use securevox::protocol::cluster::{NodeRequest, RoomHandOff};

use super::database::Client;
use super::house::House;
use super::post::{Said, Say};
use super::{Broken, Shared};

/// What a room is made of, now and after a restart.
#[derive(Clone)]
pub struct Seed {
    pub house: House,
    pub leases: NodeLeases,
    pub client: Client,
    pub shared: Shared,
    pub key: String,
    pub epoch: u64,
}

pub struct Room {
    seed: Seed,
    words: Vec<u64>,
    moving: bool,
    over: bool,
}

supervised!(Room);

impl Room {
    pub const fn new(seed: Seed) -> Self {
        Self { seed, words: Vec::new(), moving: false, over: false }
    }

    fn is_sure(&self) -> bool {
        self.seed.shared.broken == Some(Broken::NeverLetsGo) || self.seed.leases.lease_is_valid()
    }

    fn lives(&self, what: &str) {
        if self.over {
            self.seed.shared.wrong(format!("{} handled {what} after its end", self.seed.key));
        }
    }

    /// Somebody is answered without the database: nobody else may be the owner now.
    fn answers(&self) {
        let (key, epoch) = (&self.seed.key, self.seed.epoch);
        self.seed.shared.answered(key, self.seed.house.me(), epoch);
    }
}

impl Actor for Room {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (client, key) = (self.seed.client.clone(), self.seed.key.clone());
        let read = async move { client.transact(move |database| database.words(&key)).await };
        ctx.wait(read.into_actor(self).map(|words, room, ctx| match words {
            Ok(words) => room.words = words,
            Err(error) => ctx.fail(error.to_string()),
        }));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.over = true;
    }
}

/// A word, and whether whoever handles it fails.
#[derive(Message)]
#[rtype(result = "Said")]
pub struct Speak(pub Say);

impl Handler<Speak> for Room {
    type Result = ResponseActFuture<Self, Said>;

    fn handle(&mut self, Speak(say): Speak, _: &mut Self::Context) -> Self::Result {
        self.lives("a word");
        assert!(!say.bang, "on purpose");
        if self.moving || !self.is_sure() {
            return Box::pin(actix::fut::ready(Said::Moved));
        }
        self.answers();
        if self.words.contains(&say.word) {
            return Box::pin(actix::fut::ready(Said::Done));
        }
        let fence = self.seed.leases.fencing_token(&self.seed.key, self.seed.epoch).map(Into::into);
        let (client, word) = (self.seed.client.clone(), say.word);
        let early = self.seed.shared.broken == Some(Broken::AnswersFirst);
        let write = async move {
            let Some(fence) = fence else { return Ok(true) };
            let written =
                async move { client.transact(move |database| database.write(&fence, word)).await };
            if early {
                tokio::task::spawn_local(async move { drop(written.await) });
                return Ok(true);
            }
            written.await
        };
        Box::pin(write.into_actor(self).map(move |written, room: &mut Self, ctx| match written {
            Ok(true) => {
                room.words.push(word);
                Said::Done
            }
            Ok(false) => {
                room.moving = true;
                ctx.stop();
                Said::Moved
            }
            Err(_) => Said::Moved, // perhaps it was written: the same word again finds it
        }))
    }
}

/// The node is not sure any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LetGo;

impl Handler<LetGo> for Room {
    type Result = ();

    fn handle(&mut self, _: LetGo, ctx: &mut Self::Context) {
        self.lives("that it is to let go");
        if self.seed.shared.broken != Some(Broken::NeverLetsGo) {
            self.moving = true;
            ctx.stop();
        }
    }
}

/// Another node is to go on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HandOver(pub NodeId);

impl Handler<HandOver> for Room {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, HandOver(to): HandOver, _: &mut Self::Context) -> Self::Result {
        self.lives("that it is to go");
        self.moving = true;
        let (key, epoch) = (self.seed.key.clone(), self.seed.epoch);
        let call = serde_json::value::to_raw_value(&()).unwrap();
        let request = NodeRequest::TakeRoom(Box::new(RoomHandOff { key, epoch, call }));
        let house = self.seed.house.clone();
        let asked = async move { house.hand(to, &request).await };
        Box::pin(asked.into_actor(self).map(|_, _, ctx| ctx.stop()))
    }
}
