//! From the start of the process to the first 200 of `/health/ready`, on a database that has to be
//! made and on one that is there.
#![expect(clippy::unwrap_used, reason = "a bench that fails may stop")]

use std::time::Duration;

use bench::figures::times;
use bench::server::Server;
use tokio::time::Instant;

const RUNS: usize = 20;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut fresh, mut existing) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let dir = tempfile::tempdir().unwrap();
            fresh.push(start(dir.path()).await);
            existing.push(start(dir.path()).await);
        }
        times("start", "spawn to ready, fresh database", &mut fresh, Some(("p99", 200.0)));
        times("start", "spawn to ready, existing database", &mut existing, Some(("p99", 200.0)));
    });
}

async fn start(dir: &std::path::Path) -> Duration {
    let began = Instant::now();
    let mut server = Server::spawn(dir, &[]);
    server.ready().await;
    began.elapsed()
}
