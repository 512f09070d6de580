//! Passwords: argon2id on threads of its own, with a bounded queue, so that a storm of sign-ins
//! delays sign-ins and nothing else.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base::secret::Secret;
use tokio::sync::oneshot;

use super::AccountError;
use crate::config::AuthConfig;

type HashJob = Box<dyn FnOnce(&Argon2<'static>) + Send>;

/// Hashes and checks passwords; cheap to clone.
#[derive(Clone)]
pub struct PasswordHasher {
    queue: SyncSender<HashJob>,
    /// Checked where there is no account, so that the answer takes as long.
    decoy: Arc<str>,
}

impl PasswordHasher {
    /// Starts the threads; they end when the last clone is dropped.
    ///
    /// # Errors
    /// If the parameters do not fit argon2 or a thread cannot be started.
    pub fn start(config: &AuthConfig) -> Result<Self, AccountError> {
        let internal =
            |e: String| AccountError::Internal(format!("password hashing cannot start: {e}"));
        let params = Params::new(
            config.argon2_memory_kib,
            config.argon2_iterations,
            config.argon2_parallelism,
            None,
        )
        .map_err(|e| internal(e.to_string()))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon, b"nobody has this password")?;

        let (queue, jobs) = sync_channel(config.password_hash_queue_capacity);
        let jobs = Arc::new(Mutex::new(jobs));
        for n in 0..config.password_hash_threads {
            let (jobs, argon) = (jobs.clone(), argon.clone());
            std::thread::Builder::new()
                .name(format!("hash-{n}"))
                .spawn(move || work(&jobs, &argon))
                .map_err(|e| internal(e.to_string()))?;
        }
        Ok(Self { queue, decoy: decoy.into() })
    }

    /// The PHC string of a password, with a salt of its own.
    ///
    /// # Errors
    /// [`AccountError::Busy`] if too many wait.
    pub async fn hash(&self, password: Secret<String>) -> Result<String, AccountError> {
        self.run(move |argon| hash(argon, password.expose().as_bytes())).await?
    }

    /// Whether the password is the one of `kept`; without `kept` the answer is no, after the same
    /// work.
    ///
    /// # Errors
    /// [`AccountError::Busy`] if too many wait.
    pub async fn check(
        &self,
        password: Secret<String>,
        kept: Option<String>,
    ) -> Result<bool, AccountError> {
        let exists = kept.is_some();
        let kept = kept.unwrap_or_else(|| self.decoy.to_string());
        let fits = self
            .run(move |argon| {
                PasswordHash::new(&kept).is_ok_and(|kept| {
                    argon.verify_password(password.expose().as_bytes(), &kept).is_ok()
                })
            })
            .await?;
        Ok(fits && exists)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> T + Send + 'static,
    ) -> Result<T, AccountError> {
        let (reply, answer) = oneshot::channel();
        let job: HashJob = Box::new(move |argon| drop(reply.send(work(argon))));
        self.queue.try_send(job).map_err(|_| AccountError::Busy)?;
        answer.await.map_err(|_| AccountError::Busy)
    }
}

fn hash(argon: &Argon2<'_>, password: &[u8]) -> Result<String, AccountError> {
    let made = argon.hash_password(password);
    made.map(|hash| hash.to_string()).map_err(|e| AccountError::Internal(e.to_string()))
}

/// A panic in a job must not cost the thread; whoever asked gets [`AccountError::Busy`].
fn work(jobs: &Mutex<Receiver<HashJob>>, argon: &Argon2<'static>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(argon)));
    }
}
