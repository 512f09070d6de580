//! Places of those who send files: one who sends slowly has a share of them, and no more.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::files::attaches;
use crate::support::{Backend, Person, World, soon};
use crate::uploads::{appends, begins_an_upload};

/// Begins to send a file, and sends no more of it.
fn trickles(world: &World, person: &Person) -> TcpStream {
    let mut wire = TcpStream::connect(world.address()).unwrap();
    write!(
        wire,
        "POST /api/attachments HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: multipart/form-data; boundary=edge\r\ncontent-length: 1000\r\n\r\n--edge\r\n",
        person.access
    )
    .unwrap();
    wire.set_nonblocking(true).unwrap();
    wire
}

#[actix_web::test]
async fn slow_uploads_occupy_only_their_users_intake_permits() {
    let world = World::with(Backend::Sqlite, &[("FILES__MAX_CONCURRENT_UPLOADS", "16")]).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let upload = begins_an_upload(&alice, b"resumabl").await;
    let slow: Vec<_> = (0..16).map(|_| trickles(&world, &alice)).collect();
    soon("her share is taken, and more is refused", async {
        while slow.iter().filter(|wire| wire.peek(&mut [0]).is_ok()).count() < 14 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    let refused = attaches(&alice, "f", "x/y", b"more").await;
    assert_eq!(refused.header("retry-after"), Some("2"));
    refused.refused(503, "files/overloaded");
    appends(&alice, &upload, 8, b"e").await.refused(503, "files/overloaded");
    for _ in 0..14 {
        attaches(&bob, "f", "x/y", b"not hers").await.created();
    }
    drop(slow);
    soon("she has her places again", async {
        while attaches(&alice, "f", "x/y", b"more").await.status != 201 {}
    })
    .await;
    appends(&alice, &upload, 8, b"e").await.done();
}
