//! The words in which stories are told: a world (a real server), people, and their sockets.

pub mod answer;
pub mod broker;
pub mod certificates;
pub mod harness;
pub mod person;
pub mod postgres;
pub mod proxy;
pub mod redis;
#[path = "../../../src/store/tests/it/server.rs"]
#[allow(dead_code, clippy::allow_attributes, reason = "the store's own stories use the rest")]
pub mod server;
pub mod socket;

use std::future::Future;
use std::time::Duration;

pub use answer::Answer;
pub use harness::{Backend, PANIC_DATAGRAM_SUFFIX, World};
pub use person::Person;
pub use socket::Socket;

/// Long enough for a busy machine, short enough to notice.
pub const SOON: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
#[track_caller]
pub fn soon<T>(what: &str, work: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(SOON, work).await {
            Ok(done) => done,
            Err(_) => panic!("did not happen within {SOON:?}: {what} ({place})"),
        }
    }
}

/// Tells the same stories on SQLite and on PostgreSQL.
macro_rules! on_both_databases {
    ($($story:ident),+ $(,)?) => {
        mod sqlite {
            $(#[actix_web::test]
            async fn $story() {
                super::$story($crate::support::Backend::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[actix_web::test]
            async fn $story() {
                if let Some(backend) = $crate::support::postgres::fresh().await {
                    super::$story(backend).await;
                }
            })+
        }
    };
}
pub(crate) use on_both_databases;
