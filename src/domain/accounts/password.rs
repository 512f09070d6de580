//! Password hashing with argon2id (RFC 9106) on dedicated threads with a bounded queue, so that
//! many sign-ins delay only sign-ins.

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

/// Hashes and verifies passwords; cheap to clone.
#[derive(Clone)]
pub struct PasswordHasher {
    queue: SyncSender<HashJob>,
    /// Hash that is verified when there is no account, so that the response takes as long.
    decoy: Arc<str>,
}

impl PasswordHasher {
    /// Starts the hashing threads; they end when the last clone is dropped.
    ///
    /// # Errors
    /// If the parameters are invalid for argon2 or a thread cannot be started.
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
        let decoy = hash(&argon, b"decoy password")?;

        let (queue, jobs) = sync_channel(config.password_hash_queue_capacity);
        let jobs = Arc::new(Mutex::new(jobs));
        for index in 0..config.password_hash_threads {
            let (jobs, argon) = (jobs.clone(), argon.clone());
            std::thread::Builder::new()
                .name(format!("hash-{index}"))
                .spawn(move || run_worker(&jobs, &argon))
                .map_err(|e| internal(e.to_string()))?;
        }
        Ok(Self { queue, decoy: decoy.into() })
    }

    /// Hashes a password with a random salt into a PHC string.
    ///
    /// # Errors
    /// [`AccountError::Overloaded`] if the queue is full.
    pub async fn hash(&self, password: Secret<String>) -> Result<String, AccountError> {
        self.run(move |argon| hash(argon, password.expose().as_bytes())).await?
    }

    /// Verifies the password against the PHC string `hash`. Without `hash` the result is `false`
    /// after the same amount of work.
    ///
    /// # Errors
    /// [`AccountError::Overloaded`] if the queue is full.
    pub async fn check(
        &self,
        password: Secret<String>,
        stored_hash: Option<String>,
    ) -> Result<bool, AccountError> {
        let exists = stored_hash.is_some();
        let stored_hash = stored_hash.unwrap_or_else(|| self.decoy.to_string());
        let matches = self
            .run(move |argon| {
                PasswordHash::new(&stored_hash).is_ok_and(|stored_hash| {
                    argon.verify_password(password.expose().as_bytes(), &stored_hash).is_ok()
                })
            })
            .await?;
        Ok(matches && exists)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> T + Send + 'static,
    ) -> Result<T, AccountError> {
        let (reply_tx, reply_rx) = oneshot::channel();
        let job: HashJob = Box::new(move |argon| drop(reply_tx.send(work(argon))));
        self.queue.try_send(job).map_err(|_| AccountError::Overloaded)?;
        reply_rx.await.map_err(|_| AccountError::Overloaded)
    }
}

fn hash(argon: &Argon2<'_>, password: &[u8]) -> Result<String, AccountError> {
    let hashed = argon.hash_password(password);
    hashed.map(|hash| hash.to_string()).map_err(|e| AccountError::Internal(e.to_string()))
}

/// Runs jobs until the queue is closed. A panic in a job does not end the thread; the requester
/// gets [`AccountError::Overloaded`].
fn run_worker(jobs: &Mutex<Receiver<HashJob>>, argon: &Argon2<'static>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(argon)));
    }
}
