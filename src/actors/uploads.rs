//! A resumable upload that goes on here: it holds the file open, and lets one request write.
//!
//! It keeps nothing that is not on disk: how far it is, is the length of the file. When nobody has
//! written for a while, or it fails, it ends; the next request opens the file again.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Message, SpawnHandle, WrapFuture,
};
use base::clock::Timestamp;
use base::ids::{UploadId, UserId};
use bytes::Bytes;
use metrics::gauge;
use tokio::sync::oneshot;

use super::supervision::{ActorRef, DynamicSupervisor, StartChildError, SupervisedContext};
use crate::domain::files::{CompletedUpload, FileError, FileService, UploadFile};
use crate::telemetry::metrics::UPLOADS;

/// An upload that nobody writes to is let go of after this long.
const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The actor.
pub struct UploadActor {
    files: FileService,
    tape: Arc<UploadFile>,
    offset: u64,
    /// Which request may write: the newest. A connection that is half open holds nobody up.
    pen: u64,
    idle: Option<SpawnHandle>,
}

crate::actors::supervision::supervised!(UploadActor);

type UploadReply<T> = oneshot::Sender<Result<T, FileError>>;

impl UploadActor {
    fn new(files: FileService, tape: Arc<UploadFile>) -> Self {
        let offset = tape.offset;
        Self { files, tape, offset, pen: 0, idle: None }
    }

    fn size(&self) -> u64 {
        u64::try_from(self.tape.upload.size).unwrap_or(0)
    }

    fn touch(&mut self, ctx: &mut SupervisedContext<Self>) {
        if let Some(old) = self.idle.take() {
            ctx.cancel_future(old);
        }
        self.idle = Some(ctx.run_later(UPLOAD_IDLE_TIMEOUT, |_, ctx| ctx.stop()));
    }

    /// Does work with the file, before anything else is heard; whoever asked may be gone by then.
    fn work<T: 'static>(
        &mut self,
        ctx: &mut SupervisedContext<Self>,
        work: impl Future<Output = Result<T, FileError>> + 'static,
        then: impl FnOnce(&mut Self, Result<T, FileError>, &mut SupervisedContext<Self>) + 'static,
    ) {
        self.touch(ctx);
        ctx.wait(work.into_actor(self).map(then_of(then)));
    }
}

fn then_of<T>(
    then: impl FnOnce(&mut UploadActor, T, &mut SupervisedContext<UploadActor>),
) -> impl FnOnce(T, &mut UploadActor, &mut SupervisedContext<UploadActor>) {
    move |done, upload, ctx| then(upload, done, ctx)
}

impl Actor for UploadActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        gauge!(UPLOADS).increment(1);
        self.touch(ctx);
    }
}

impl Drop for UploadActor {
    fn drop(&mut self) {
        gauge!(UPLOADS).decrement(1);
    }
}

/// A request wants to write; those before it no longer may.
#[derive(Message)]
#[rtype(result = "Result<WriterGrant, FileError>")]
struct AcquireWriter(UserId);

/// The number of a request, and the upload as it finds it.
struct WriterGrant {
    number: u64,
    offset: u64,
    size: u64,
    expires_at: Timestamp,
}

impl Handler<AcquireWriter> for UploadActor {
    type Result = Result<WriterGrant, FileError>;

    fn handle(
        &mut self,
        AcquireWriter(who): AcquireWriter,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        if self.tape.upload.owner_id != who {
            return Err(FileError::NoSuchUpload);
        }
        self.touch(ctx);
        self.pen += 1;
        let (offset, size, expires_at) = (self.offset, self.size(), self.tape.upload.expires_at);
        Ok(WriterGrant { number: self.pen, offset, size, expires_at })
    }
}

/// What a request may ask that has the pen.
enum WriteOp {
    Write(Bytes, UploadReply<u64>),
    Cut(u64, UploadReply<u64>),
    Keep(UploadReply<u64>),
    Finish(UploadReply<CompletedUpload>),
}

#[derive(Message)]
#[rtype(result = "()")]
struct ApplyWrite(u64, WriteOp);

impl Handler<ApplyWrite> for UploadActor {
    type Result = ();

    fn handle(&mut self, ApplyWrite(pen, stroke): ApplyWrite, ctx: &mut Self::Context) {
        let taken = pen != self.pen;
        // Whoever asked may be gone: then nobody needs the answer.
        match stroke {
            WriteOp::Finish(reply) if taken => drop(reply.send(Err(FileError::TakenOver))),
            WriteOp::Write(_, reply) | WriteOp::Cut(_, reply) | WriteOp::Keep(reply) if taken => {
                drop(reply.send(Err(FileError::TakenOver)));
            }
            WriteOp::Write(piece, reply) => {
                let end = self.offset + piece.len() as u64;
                if end > self.size() {
                    return drop(reply.send(Err(FileError::TooLarge(self.size()))));
                }
                let work = self.tape.write(self.offset, piece);
                self.work(ctx, work, move |upload, done, ctx| {
                    match done {
                        Ok(()) => upload.offset = end,
                        Err(_) => ctx.stop(), // how far it is, is asked of the disk again
                    }
                    drop(reply.send(done.map(|()| end)));
                });
            }
            WriteOp::Cut(at, reply) => {
                let work = self.tape.cut(at);
                self.work(ctx, work, move |upload, done, ctx| {
                    match done {
                        Ok(()) => upload.offset = at,
                        Err(_) => ctx.stop(), // as above
                    }
                    drop(reply.send(done.map(|()| at)));
                });
            }
            WriteOp::Keep(reply) => {
                let work = self.tape.keep();
                self.work(ctx, work, move |upload, done, _| {
                    drop(reply.send(done.map(|()| upload.offset)));
                });
            }
            WriteOp::Finish(reply) if self.offset != self.size() => {
                drop(reply.send(Err(FileError::WrongOffset)));
            }
            WriteOp::Finish(reply) => {
                let (files, tape) = (self.files.clone(), self.tape.clone());
                let work = async move { files.finish_upload(&tape.upload).await };
                self.work(ctx, work, move |_, done, ctx| {
                    ctx.stop();
                    drop(reply.send(done));
                });
            }
        }
    }
}

/// Starts and finds uploads; cheap to clone.
#[derive(Clone)]
pub struct UploadRegistry {
    nursery: DynamicSupervisor<UploadActor>,
    files: FileService,
}

/// A request's right to write to an upload, until a newer request takes it.
pub struct WriterToken {
    actor: ActorRef<UploadActor>,
    number: u64,
    /// How many bytes are here.
    pub offset: u64,
    /// How many there will be.
    pub size: u64,
    /// Until when it may go on.
    pub expires_at: Timestamp,
}

impl UploadRegistry {
    /// Uploads in this nursery.
    pub const fn new(nursery: DynamicSupervisor<UploadActor>, files: FileService) -> Self {
        Self { nursery, files }
    }

    /// Goes on with an upload.
    ///
    /// # Errors
    /// [`FileError::NoSuchUpload`], [`FileError::Elsewhere`], the disk's or the database's.
    pub async fn acquire_writer(
        &self,
        who: UserId,
        id: UploadId,
    ) -> Result<WriterToken, FileError> {
        let name = id.to_string();
        for _ in 0..3 {
            let actor = match self.nursery.get(&name) {
                Some(actor) => actor,
                None => match self.begin(who, id, &name).await? {
                    Some(actor) => actor,
                    None => continue,
                },
            };
            // No answer: it has just ended.
            if let Ok(taken) = actor.ask(AcquireWriter(who)).await {
                let WriterGrant { number, offset, size, expires_at } = taken?;
                return Ok(WriterToken { actor, number, offset, size, expires_at });
            }
        }
        Err(FileError::Elsewhere)
    }

    /// Opens an upload; `None` if somebody else has just done so.
    async fn begin(
        &self,
        who: UserId,
        id: UploadId,
        name: &str,
    ) -> Result<Option<ActorRef<UploadActor>>, FileError> {
        let tape = match self.files.open_upload(who, id).await {
            Err(FileError::Elsewhere) if self.nursery.get(name).is_some() => return Ok(None),
            tape => Arc::new(tape?),
        };
        // A temporary child is built once: the next life of an upload opens its file again.
        let files = self.files.clone();
        let factory = move |_: &mut SupervisedContext<UploadActor>| {
            UploadActor::new(files.clone(), tape.clone())
        };
        match self.nursery.start(name, factory).await {
            Ok(actor) => Ok(Some(actor)),
            Err(StartChildError::NameTaken) => Ok(None),
            Err(_) => Err(FileError::Busy),
        }
    }

    /// Ends an upload, whoever writes to it.
    ///
    /// # Errors
    /// [`FileError::NoSuchUpload`], the disk's or the database's.
    pub async fn end(&self, who: UserId, id: UploadId) -> Result<(), FileError> {
        self.files.upload(who, id).await?;
        let _ = self.nursery.stop(&id.to_string()).await; // not here is as good
        self.files.end_upload(who, id).await
    }
}

impl WriterToken {
    async fn draw<T>(
        &self,
        stroke: impl FnOnce(UploadReply<T>) -> WriteOp,
    ) -> Result<T, FileError> {
        let (reply, answer) = oneshot::channel();
        let told = self.actor.ask(ApplyWrite(self.number, stroke(reply))).await;
        told.map_err(|_| FileError::TakenOver)?;
        answer.await.map_err(|_| FileError::TakenOver)?
    }

    /// Writes on.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], [`FileError::TakenOver`], or the disk's.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), FileError> {
        self.offset = self.draw(|reply| WriteOp::Write(piece, reply)).await?;
        Ok(())
    }

    /// Takes back what was written since.
    ///
    /// # Errors
    /// [`FileError::TakenOver`], or the disk's.
    pub async fn truncate(&mut self, at: u64) -> Result<(), FileError> {
        self.offset = self.draw(|reply| WriteOp::Cut(at, reply)).await?;
        Ok(())
    }

    /// Has the disk keep what was written.
    ///
    /// # Errors
    /// [`FileError::TakenOver`], or the disk's.
    pub async fn sync(&self) -> Result<u64, FileError> {
        self.draw(WriteOp::Keep).await
    }

    /// Makes a whole upload what it is for.
    ///
    /// # Errors
    /// As [`FileService::keep`].
    pub async fn finish(&self) -> Result<CompletedUpload, FileError> {
        self.draw(WriteOp::Finish).await
    }
}
