//! The actor of a resumable upload: it holds the file open and lets one request write.
//!
//! It has no state beyond the file: the offset is the file length. It ends when nobody has written
//! for a while, or when it fails; the next request opens the file again.

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

/// After this time without a write the actor of an upload ends.
const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The actor of one upload.
pub struct UploadActor {
    files: FileService,
    file: Arc<UploadFile>,
    offset: u64,
    /// The number of the request that may write, which is the newest. A half-open connection
    /// therefore blocks nobody.
    writer_number: u64,
    idle_timer: Option<SpawnHandle>,
}

crate::actors::supervision::supervised!(UploadActor);

type UploadReply<T> = oneshot::Sender<Result<T, FileError>>;

impl UploadActor {
    fn new(files: FileService, file: Arc<UploadFile>) -> Self {
        let offset = file.offset;
        Self { files, file, offset, writer_number: 0, idle_timer: None }
    }

    fn size(&self) -> u64 {
        u64::try_from(self.file.upload.size).unwrap_or(0)
    }

    fn touch(&mut self, ctx: &mut SupervisedContext<Self>) {
        if let Some(old) = self.idle_timer.take() {
            ctx.cancel_future(old);
        }
        self.idle_timer = Some(ctx.run_later(UPLOAD_IDLE_TIMEOUT, |_, ctx| ctx.stop()));
    }

    /// Runs file work before the next message is handled; the caller may have left by then.
    fn run_file_work<T: 'static>(
        &mut self,
        ctx: &mut SupervisedContext<Self>,
        work: impl Future<Output = Result<T, FileError>> + 'static,
        then: impl FnOnce(&mut Self, Result<T, FileError>, &mut SupervisedContext<Self>) + 'static,
    ) {
        self.touch(ctx);
        ctx.wait(work.into_actor(self).map(completion(then)));
    }
}

fn completion<T>(
    then: impl FnOnce(&mut UploadActor, T, &mut SupervisedContext<UploadActor>),
) -> impl FnOnce(T, &mut UploadActor, &mut SupervisedContext<UploadActor>) {
    move |result, upload, ctx| then(upload, result, ctx)
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

/// A request wants to write; older requests lose the permission.
#[derive(Message)]
#[rtype(result = "Result<WriterGrant, FileError>")]
struct AcquireWriter(UserId);

/// The number of a request, and the state of the upload.
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
        AcquireWriter(user): AcquireWriter,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        if self.file.upload.owner_id != user {
            return Err(FileError::UploadNotFound);
        }
        self.touch(ctx);
        self.writer_number += 1;
        let (offset, size, expires_at) = (self.offset, self.size(), self.file.upload.expires_at);
        Ok(WriterGrant { number: self.writer_number, offset, size, expires_at })
    }
}

/// The operations of the request that holds the writer token.
enum WriteOp {
    Write(Bytes, UploadReply<u64>),
    Truncate(u64, UploadReply<u64>),
    Sync(UploadReply<u64>),
    Finish(UploadReply<CompletedUpload>),
}

#[derive(Message)]
#[rtype(result = "()")]
struct ApplyWrite(u64, WriteOp);

impl Handler<ApplyWrite> for UploadActor {
    type Result = ();

    fn handle(&mut self, ApplyWrite(writer_number, op): ApplyWrite, ctx: &mut Self::Context) {
        let is_superseded = writer_number != self.writer_number;
        // Sending the reply fails only if the caller has left.
        match op {
            WriteOp::Finish(reply) if is_superseded => drop(reply.send(Err(FileError::Superseded))),
            WriteOp::Write(_, reply) | WriteOp::Truncate(_, reply) | WriteOp::Sync(reply)
                if is_superseded =>
            {
                drop(reply.send(Err(FileError::Superseded)));
            }
            WriteOp::Write(bytes, reply) => {
                let end = self.offset + bytes.len() as u64;
                if end > self.size() {
                    return drop(reply.send(Err(FileError::TooLarge(self.size()))));
                }
                let work = self.file.write(self.offset, bytes);
                self.run_file_work(ctx, work, move |upload, result, ctx| {
                    match result {
                        Ok(()) => upload.offset = end,
                        Err(_) => ctx.stop(), // the offset is read from the disk again
                    }
                    drop(reply.send(result.map(|()| end)));
                });
            }
            WriteOp::Truncate(offset, reply) => {
                let work = self.file.truncate(offset);
                self.run_file_work(ctx, work, move |upload, result, ctx| {
                    match result {
                        Ok(()) => upload.offset = offset,
                        Err(_) => ctx.stop(), // as above
                    }
                    drop(reply.send(result.map(|()| offset)));
                });
            }
            WriteOp::Sync(reply) => {
                let work = self.file.sync();
                self.run_file_work(ctx, work, move |upload, result, _| {
                    drop(reply.send(result.map(|()| upload.offset)));
                });
            }
            WriteOp::Finish(reply) if self.offset != self.size() => {
                drop(reply.send(Err(FileError::OffsetMismatch)));
            }
            WriteOp::Finish(reply) => {
                let (files, file) = (self.files.clone(), self.file.clone());
                let work = async move { files.finish_upload(&file.upload).await };
                self.run_file_work(ctx, work, move |_, result, ctx| {
                    ctx.stop();
                    drop(reply.send(result));
                });
            }
        }
    }
}

/// Starts and finds the actors of uploads; cheap to clone.
#[derive(Clone)]
pub struct UploadRegistry {
    supervisor: DynamicSupervisor<UploadActor>,
    files: FileService,
}

/// The permission of a request to write to an upload, until a newer request acquires it.
pub struct WriterToken {
    actor: ActorRef<UploadActor>,
    number: u64,
    /// Bytes received so far.
    pub offset: u64,
    /// Total size of the upload in bytes.
    pub size: u64,
    /// When the upload expires.
    pub expires_at: Timestamp,
}

impl UploadRegistry {
    /// A registry whose actors run under this supervisor.
    pub const fn new(supervisor: DynamicSupervisor<UploadActor>, files: FileService) -> Self {
        Self { supervisor, files }
    }

    /// Acquires the writer token of an upload.
    ///
    /// # Errors
    /// [`FileError::UploadNotFound`], [`FileError::LockedByOtherNode`], or an error of the disk or the
    /// database.
    pub async fn acquire_writer(
        &self,
        user: UserId,
        id: UploadId,
    ) -> Result<WriterToken, FileError> {
        let name = id.to_string();
        for _ in 0..3 {
            let actor = match self.supervisor.get(&name) {
                Some(actor) => actor,
                None => match self.open(user, id, &name).await? {
                    Some(actor) => actor,
                    None => continue,
                },
            };
            // Without a reply, it has just ended.
            if let Ok(granted) = actor.ask(AcquireWriter(user)).await {
                let WriterGrant { number, offset, size, expires_at } = granted?;
                return Ok(WriterToken { actor, number, offset, size, expires_at });
            }
        }
        Err(FileError::LockedByOtherNode)
    }

    /// Opens an upload; `None` if another request has just done so.
    async fn open(
        &self,
        user: UserId,
        id: UploadId,
        name: &str,
    ) -> Result<Option<ActorRef<UploadActor>>, FileError> {
        let file = match self.files.open_upload(user, id).await {
            Err(FileError::LockedByOtherNode) if self.supervisor.get(name).is_some() => {
                return Ok(None);
            }
            file => Arc::new(file?),
        };
        // A temporary child is built once; the next incarnation of an upload opens its file again.
        let files = self.files.clone();
        let factory = move |_: &mut SupervisedContext<UploadActor>| {
            UploadActor::new(files.clone(), file.clone())
        };
        match self.supervisor.start(name, factory).await {
            Ok(actor) => Ok(Some(actor)),
            Err(StartChildError::NameTaken) => Ok(None),
            Err(_) => Err(FileError::Overloaded),
        }
    }

    /// Ends an upload, whoever writes to it.
    ///
    /// # Errors
    /// [`FileError::UploadNotFound`], or an error of the disk or the database.
    pub async fn end(&self, user: UserId, id: UploadId) -> Result<(), FileError> {
        self.files.upload(user, id).await?;
        let _ = self.supervisor.stop(&id.to_string()).await; // fails only if it is not running
        self.files.end_upload(user, id).await
    }
}

impl WriterToken {
    async fn apply<T>(&self, op: impl FnOnce(UploadReply<T>) -> WriteOp) -> Result<T, FileError> {
        let (reply, result) = oneshot::channel();
        let delivered = self.actor.ask(ApplyWrite(self.number, op(reply))).await;
        delivered.map_err(|_| FileError::Superseded)?;
        result.await.map_err(|_| FileError::Superseded)?
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], [`FileError::Superseded`], or an error of the disk.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), FileError> {
        self.offset = self.apply(|reply| WriteOp::Write(bytes, reply)).await?;
        Ok(())
    }

    /// Truncates the upload to `offset` bytes.
    ///
    /// # Errors
    /// [`FileError::Superseded`], or an error of the disk.
    pub async fn truncate(&mut self, offset: u64) -> Result<(), FileError> {
        self.offset = self.apply(|reply| WriteOp::Truncate(offset, reply)).await?;
        Ok(())
    }

    /// Flushes what was written to the disk (fsync).
    ///
    /// # Errors
    /// [`FileError::Superseded`], or an error of the disk.
    pub async fn sync(&self) -> Result<u64, FileError> {
        self.apply(WriteOp::Sync).await
    }

    /// Completes an upload that has its full size.
    ///
    /// # Errors
    /// See [`FileService::finish_upload`].
    pub async fn finish(&self) -> Result<CompletedUpload, FileError> {
        self.apply(WriteOp::Finish).await
    }
}
