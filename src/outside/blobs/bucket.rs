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

use super::{Blobs, Fut, Name, Pieces};
use crate::config;

/// Larger files go in parts of this size, which is what is held in memory of them.
const PART: usize = 8 * 1024 * 1024;
/// Parts on their way at once.
const PARTS: usize = 2;
/// An answer that takes longer is none.
const DEADLINE: Duration = Duration::from_secs(30);

/// A bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    prefix: String,
}

impl Bucket {
    /// The bucket of the settings.
    ///
    /// # Errors
    /// If the settings make no sense, in words.
    pub fn new(config: &config::Storage, secret: &Secret<String>) -> Result<Self, String> {
        let plain = config.endpoint.starts_with("http://");
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.access_key)
            .with_secret_access_key(secret.expose())
            .with_virtual_hosted_style_request(!config.path_style)
            .with_client_options(ClientOptions::new().with_timeout(DEADLINE).with_allow_http(plain))
            .with_retry(RetryConfig {
                max_retries: 3,
                retry_timeout: DEADLINE,
                ..RetryConfig::default()
            });
        if !config.endpoint.is_empty() {
            builder = builder.with_endpoint(&config.endpoint);
        }
        let store = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { store: Arc::new(store), prefix: config.prefix.clone() })
    }

    fn key(&self, name: &Name) -> Key {
        Key::from(format!("{}{}", self.prefix, name.path()))
    }

    async fn send(&self, name: &Name, file: &Path) -> io::Result<()> {
        let mut file = tokio::fs::File::open(file).await?;
        let key = self.key(name);
        let mut piece = piece_of(&mut file).await?;
        if piece.len() < PART {
            let payload = PutPayload::from_bytes(piece.freeze());
            self.store.put(&key, payload).await.map_err(told)?;
            return Ok(());
        }
        let upload = self.store.put_multipart(&key).await.map_err(told)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        loop {
            upload.wait_for_capacity(PARTS).await.map_err(told)?;
            let last = piece.len() < PART;
            upload.put(piece.freeze());
            if last {
                break;
            }
            piece = match piece_of(&mut file).await {
                Ok(piece) => piece,
                Err(error) => {
                    let _ = upload.abort().await; // the reading has failed, which is what is told
                    return Err(error);
                }
            };
        }
        upload.finish().await.map_err(told)?;
        Ok(())
    }
}

async fn piece_of(file: &mut tokio::fs::File) -> io::Result<BytesMut> {
    let mut piece = BytesMut::with_capacity(PART);
    while piece.len() < PART && file.read_buf(&mut piece).await? > 0 {}
    Ok(piece)
}

fn told(error: object_store::Error) -> io::Error {
    match error {
        object_store::Error::NotFound { .. } => io::Error::from(io::ErrorKind::NotFound),
        other => io::Error::other(other),
    }
}

impl Blobs for Bucket {
    fn put<'a>(&'a self, name: &'a Name, file: &'a Path) -> Fut<'a, io::Result<()>> {
        Box::pin(self.send(name, file))
    }

    fn read<'a>(&'a self, name: &'a Name, part: Range<u64>) -> Fut<'a, io::Result<Pieces>> {
        Box::pin(async move {
            let wanted = GetOptions::new().with_range(Some(part));
            let found = self.store.get_opts(&self.key(name), wanted).await.map_err(told)?;
            Ok(Box::pin(found.into_stream().map_err(told)) as Pieces)
        })
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Fut<'a, io::Result<()>> {
        Box::pin(async move {
            match self.store.delete(&self.key(name)).await {
                Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(told(error)),
            }
        })
    }
}
