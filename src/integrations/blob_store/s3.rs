//! Blob store in a bucket of Amazon S3 or a compatible server.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;
use bytes::BytesMut;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::{
    ClientOptions, GetOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, WriteMultipart,
};
use tokio::io::AsyncReadExt;

use super::{BlobKey, BlobStore, BoxFuture, ByteStream};
use crate::config;
use crate::limits::MAX_CONCURRENT_PARTS;

/// Larger files are uploaded in parts of this size, which bounds the memory per file.
const MULTIPART_PART_BYTES: usize = 8 * 1024 * 1024;
/// Maximum time to wait for a response, and between two reads of its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A bucket with an optional key prefix.
#[derive(Clone, Debug)]
pub struct S3BlobStore {
    store: Arc<AmazonS3>,
    prefix: String,
}

impl S3BlobStore {
    /// Creates the store from the configuration.
    ///
    /// # Errors
    /// A message if the configuration is invalid.
    pub fn new(config: &config::StorageConfig, secret: &Secret<String>) -> Result<Self, String> {
        Self::with_timeout(config, secret, REQUEST_TIMEOUT)
    }

    fn with_timeout(
        config: &config::StorageConfig,
        secret: &Secret<String>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let allow_http = config.endpoint.starts_with("http://");
        // No total timeout: a large download takes as long as its reader needs.
        let options = ClientOptions::new()
            .with_timeout_disabled()
            .with_read_timeout(timeout)
            .with_allow_http(allow_http);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.access_key)
            .with_secret_access_key(secret.expose())
            .with_virtual_hosted_style_request(!config.path_style)
            .with_client_options(options)
            .with_retry(RetryConfig {
                max_retries: 3,
                retry_timeout: timeout,
                ..RetryConfig::default()
            });
        if !config.endpoint.is_empty() {
            builder = builder.with_endpoint(&config.endpoint);
        }
        let store = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { store: Arc::new(store), prefix: config.prefix.clone() })
    }

    fn object_path(&self, key: &BlobKey) -> ObjectPath {
        ObjectPath::from(format!("{}{}", self.prefix, key.path()))
    }

    async fn upload(&self, key: &BlobKey, file: &Path) -> io::Result<()> {
        let mut file = tokio::fs::File::open(file).await?;
        let path = self.object_path(key);
        let part = read_part(&mut file).await?;
        if part.len() < MULTIPART_PART_BYTES {
            let payload = PutPayload::from_bytes(part.freeze());
            self.store.put(&path, payload).await.map_err(to_io_error)?;
            return Ok(());
        }
        let upload = self.store.put_multipart(&path).await.map_err(to_io_error)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, MULTIPART_PART_BYTES);
        if let Err(error) = upload_parts(&mut upload, part, &mut file).await {
            let _ = upload.abort().await; // the original error is reported
            return Err(error);
        }
        upload.finish().await.map_err(to_io_error)?;
        Ok(())
    }
}

async fn upload_parts(
    upload: &mut WriteMultipart,
    mut part: BytesMut,
    file: &mut tokio::fs::File,
) -> io::Result<()> {
    loop {
        upload.wait_for_capacity(MAX_CONCURRENT_PARTS).await.map_err(to_io_error)?;
        let is_last = part.len() < MULTIPART_PART_BYTES;
        upload.put(part.freeze());
        if is_last {
            return Ok(());
        }
        part = read_part(file).await?;
    }
}

async fn read_part(file: &mut tokio::fs::File) -> io::Result<BytesMut> {
    let mut part = BytesMut::with_capacity(MULTIPART_PART_BYTES);
    while part.len() < MULTIPART_PART_BYTES && file.read_buf(&mut part).await? > 0 {}
    Ok(part)
}

fn to_io_error(error: object_store::Error) -> io::Error {
    match error {
        object_store::Error::NotFound { .. } => io::Error::from(io::ErrorKind::NotFound),
        other => io::Error::other(other),
    }
}

impl BlobStore for S3BlobStore {
    fn put<'a>(&'a self, key: &'a BlobKey, file: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.upload(key, file))
    }

    fn read<'a>(
        &'a self,
        key: &'a BlobKey,
        range: Range<u64>,
    ) -> BoxFuture<'a, io::Result<ByteStream>> {
        Box::pin(async move {
            let options = GetOptions::new().with_range(Some(range));
            let response =
                self.store.get_opts(&self.object_path(key), options).await.map_err(to_io_error)?;
            Ok(Box::pin(response.into_stream().map_err(to_io_error)) as ByteStream)
        })
    }

    fn remove<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            match self.store.delete(&self.object_path(key)).await {
                Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(to_io_error(error)),
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

    /// Serves an object of eight bytes, one byte at a time.
    async fn serve_slowly(mut stream: TcpStream, pause: Duration) {
        let mut request = BytesMut::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        for byte in b"a canary" {
            tokio::time::sleep(pause).await;
            stream.write_all(&[*byte]).await.unwrap();
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
        let timeout = Duration::from_secs(1);
        let store =
            S3BlobStore::with_timeout(&config, &Secret::new("secret".to_owned()), timeout).unwrap();
        let key = BlobKey::new(&[0; 32], base::ids::BlobId::new());
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            serve_slowly(stream, timeout / 4).await;
        };
        let client = async {
            let chunks = store.read(&key, 0..8).await.unwrap();
            chunks.try_collect::<Vec<_>>().await.map(|chunks| chunks.concat())
        };
        let ((), read) = tokio::join!(server, client);

        assert_eq!(read.unwrap(), b"a canary");
    }
}
