//! Objects in a bucket of whoever speaks S3: Amazon's, or a server of one's own.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;
use bytes::BytesMut;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{
    ClientOptions, GetOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, WriteMultipart,
};
use tokio::io::AsyncReadExt;

use super::{BlobKey, BlobStore, BoxFuture, ByteStream};
use crate::config;

/// Larger files go in parts of this size, which is what is held in memory of them.
const MULTIPART_PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts on their way at once.
const MAX_CONCURRENT_PARTS: usize = 2;
/// An answer that takes longer is none, and one that pauses for longer has ended.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A bucket.
#[derive(Clone, Debug)]
pub struct S3BlobStore {
    store: Arc<AmazonS3>,
    prefix: String,
}

impl S3BlobStore {
    /// The bucket of the settings.
    ///
    /// # Errors
    /// If the settings make no sense, in words.
    pub fn new(config: &config::StorageConfig, secret: &Secret<String>) -> Result<Self, String> {
        Self::with(config, secret, REQUEST_TIMEOUT)
    }

    fn with(
        config: &config::StorageConfig,
        secret: &Secret<String>,
        deadline: Duration,
    ) -> Result<Self, String> {
        let plain = config.endpoint.starts_with("http://");
        // A large object takes as long as whoever reads it needs.
        let options = ClientOptions::new()
            .with_timeout_disabled()
            .with_read_timeout(deadline)
            .with_allow_http(plain);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.access_key)
            .with_secret_access_key(secret.expose())
            .with_virtual_hosted_style_request(!config.path_style)
            .with_client_options(options)
            .with_retry(RetryConfig {
                max_retries: 3,
                retry_timeout: deadline,
                ..RetryConfig::default()
            });
        if !config.endpoint.is_empty() {
            builder = builder.with_endpoint(&config.endpoint);
        }
        let store = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { store: Arc::new(store), prefix: config.prefix.clone() })
    }

    fn key(&self, name: &BlobKey) -> Key {
        Key::from(format!("{}{}", self.prefix, name.path()))
    }

    async fn send(&self, name: &BlobKey, file: &Path) -> io::Result<()> {
        let mut file = tokio::fs::File::open(file).await?;
        let key = self.key(name);
        let piece = piece_of(&mut file).await?;
        if piece.len() < MULTIPART_PART_BYTES {
            let payload = PutPayload::from_bytes(piece.freeze());
            self.store.put(&key, payload).await.map_err(told)?;
            return Ok(());
        }
        let upload = self.store.put_multipart(&key).await.map_err(told)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, MULTIPART_PART_BYTES);
        if let Err(error) = in_parts(&mut upload, piece, &mut file).await {
            let _ = upload.abort().await; // why it failed is what is told
            return Err(error);
        }
        upload.finish().await.map_err(told)?;
        Ok(())
    }
}

async fn in_parts(
    upload: &mut WriteMultipart,
    mut piece: BytesMut,
    file: &mut tokio::fs::File,
) -> io::Result<()> {
    loop {
        upload.wait_for_capacity(MAX_CONCURRENT_PARTS).await.map_err(told)?;
        let last = piece.len() < MULTIPART_PART_BYTES;
        upload.put(piece.freeze());
        if last {
            return Ok(());
        }
        piece = piece_of(file).await?;
    }
}

async fn piece_of(file: &mut tokio::fs::File) -> io::Result<BytesMut> {
    let mut piece = BytesMut::with_capacity(MULTIPART_PART_BYTES);
    while piece.len() < MULTIPART_PART_BYTES && file.read_buf(&mut piece).await? > 0 {}
    Ok(piece)
}

fn told(error: object_store::Error) -> io::Error {
    match error {
        object_store::Error::NotFound { .. } => io::Error::from(io::ErrorKind::NotFound),
        other => io::Error::other(other),
    }
}

impl BlobStore for S3BlobStore {
    fn put<'a>(&'a self, name: &'a BlobKey, file: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.send(name, file))
    }

    fn read<'a>(
        &'a self,
        name: &'a BlobKey,
        part: Range<u64>,
    ) -> BoxFuture<'a, io::Result<ByteStream>> {
        Box::pin(async move {
            let wanted = GetOptions::new().with_range(Some(part));
            let found = self.store.get_opts(&self.key(name), wanted).await.map_err(told)?;
            Ok(Box::pin(found.into_stream().map_err(told)) as ByteStream)
        })
    }

    fn remove<'a>(&'a self, name: &'a BlobKey) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            match self.store.delete(&self.key(name)).await {
                Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(told(error)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const HEAD: &str = "HTTP/1.1 206 Partial Content\r\ncontent-length: 8\r\n\
         content-range: bytes 0-7/8\r\netag: \"1\"\r\n\
         last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n";

    /// Gives an object of eight bytes, a byte at a time.
    async fn gives_slowly(mut wire: TcpStream, pause: Duration) {
        let mut asked = BytesMut::new();
        while !asked.ends_with(b"\r\n\r\n") {
            assert_ne!(wire.read_buf(&mut asked).await.unwrap(), 0);
        }
        wire.write_all(HEAD.as_bytes()).await.unwrap();
        for byte in b"a canary" {
            tokio::time::sleep(pause).await;
            wire.write_all(&[*byte]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn object_download_may_exceed_response_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config::StorageConfig {
            backend: config::StorageKind::S3,
            path: "".into(),
            bucket: "files".to_owned(),
            prefix: String::new(),
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            region: "us-east-1".to_owned(),
            path_style: true,
            access_key: "key".to_owned(),
            secret_key: Secret::default(),
            secret_key_file: "".into(),
        };
        let deadline = Duration::from_secs(1);
        let bucket =
            S3BlobStore::with(&config, &Secret::new("secret".to_owned()), deadline).unwrap();
        let name = BlobKey::new(&[0; 32], base::ids::BlobId::new());
        let serves = async {
            let (wire, _) = listener.accept().await.unwrap();
            gives_slowly(wire, deadline / 4).await;
        };
        let reads = async {
            let pieces = bucket.read(&name, 0..8).await.unwrap();
            pieces.try_collect::<Vec<_>>().await.map(|pieces| pieces.concat())
        };
        let ((), read) = tokio::join!(serves, reads);

        assert_eq!(read.unwrap(), b"a canary");
    }
}
