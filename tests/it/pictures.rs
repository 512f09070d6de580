//! Pictures: what is taken from them, and what stays.

use image::ImageFormat;

use crate::files::{attaches, id, picture};
use crate::support::{Backend, World};

/// A JPEG as a phone makes it: lying on its side, with the place where it was taken, comments, and
/// a second picture behind the first.
fn from_a_phone() -> Vec<u8> {
    let plain = picture(800, 400, ImageFormat::Jpeg);
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x02".to_vec();
    exif.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"); // to be turned by a quarter
    exif.extend(b"\x88\x25\0\x04\0\0\0\x01\0\0\0\x26\0\0\0\0"); // GPS is there
    exif.extend(b"GPS-CANARY 48.1372N 11.5756E");
    let segment = |marker: u8, body: &[u8]| {
        let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
        [&[0xff, marker], &length[..], body].concat()
    };
    let mut out = plain[..2].to_vec();
    out.extend(segment(0xe1, &exif));
    out.extend(segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0<x GPS-CANARY/>"));
    out.extend(segment(0xed, b"Photoshop 3.0\0GPS-CANARY"));
    out.extend(segment(0xfe, b"GPS-CANARY"));
    out.extend(&plain[2..]);
    out.extend(b"MotionPhoto GPS-CANARY");
    out
}

fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], kind, body, &[0; 4]].concat()
}

#[actix_web::test]
async fn image_metadata_is_stripped_but_orientation_is_kept() {
    let world = World::new(Backend::Sqlite).await;
    let alice = world.person("Alice").await;
    let png = picture(300, 200, ImageFormat::Png);
    let mut told = png[..33].to_vec();
    told.extend(chunk(b"tEXt", b"Location\0GPS-CANARY"));
    told.extend(chunk(b"eXIf", b"MM\0\x2a\0\0\0\x08\0\0GPS-CANARY"));
    told.extend(&png[33..]);
    let mut webp = picture(300, 200, ImageFormat::WebP);
    webp.extend(b"XMP \x0a\0\0\0GPS-CANARY");
    let length = u32::try_from(webp.len() - 8).unwrap().to_le_bytes();
    webp[4..8].copy_from_slice(&length);
    let mut gif = picture(30, 20, ImageFormat::Gif);
    gif.pop();
    gif.extend(b"\x21\xfe\x0aGPS-CANARY\0\x3b");

    for (bytes, size) in
        [(from_a_phone(), (400, 800)), (told, (300, 200)), (webp, (300, 200)), (gif, (30, 20))]
    {
        let made = attaches(&alice, "p", "image/any", &bytes).await.created();
        let kept = alice.fetches(&format!("/api/attachments/{}", id(&made))).await.1;
        let small = alice.fetches(&format!("/api/attachments/{}/thumbnail", id(&made))).await.1;
        assert_eq!((made["width"].as_u64(), made["height"].as_u64()), (Some(size.0), Some(size.1)));
        for bytes in [&kept, &small] {
            assert!(!bytes.windows(10).any(|window| window == b"GPS-CANARY"), "{made}");
        }
        image::load_from_memory(&kept).expect("still a picture");
        let small = image::load_from_memory(&small).expect("a picture");
        assert_eq!(small.width() < small.height(), size.0 < size.1);
    }
}
