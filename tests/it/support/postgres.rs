//! A fresh PostgreSQL database for each story that wants one.

use base::ids::UserId;

use super::Backend;

/// A database of its own on the server that `SECUREVOX_TEST_POSTGRES` names. Without that variable
/// the story is not told, unless `SECUREVOX_TEST_ALL` insists: then it fails.
#[expect(clippy::print_stdout, reason = "a story that is not told must not look as if it were")]
pub async fn fresh() -> Option<Backend> {
    let Ok(admin) = std::env::var("SECUREVOX_TEST_POSTGRES") else {
        assert!(
            std::env::var_os("SECUREVOX_TEST_ALL").is_none(),
            "SECUREVOX_TEST_POSTGRES must name a server: run `make test`"
        );
        println!("not told on PostgreSQL: SECUREVOX_TEST_POSTGRES is not set");
        return None;
    };
    let name = format!("it_{}", UserId::new()); // numbers of processes come again
    let (client, connection) =
        tokio_postgres::connect(&admin, tokio_postgres::NoTls).await.expect("PostgreSQL answers");
    let connection = actix_web::rt::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database is made");
    drop(client);
    connection.await.expect("the connection ends").expect("and ends well");
    let (server, _) = admin.rsplit_once('/').expect("an address with a database name");
    Some(Backend::Postgres(format!("{server}/{name}")))
}
