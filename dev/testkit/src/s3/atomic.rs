//! s3s-fs with what it lacks: changes of one object one after the other, each of them whole.
//!
//! s3s-fs looks whether an object is there, and then writes it; two conditional puts could both see
//! nothing. Here changes of a key take turns. Each also goes on when its client has gone, as in S3,
//! where s3s-fs alone would stop in the middle of it. And an upload that is no more is
//! `NoSuchUpload`, where s3s-fs says that access is denied.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use s3s::dto::*;
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::sync::Mutex;

/// Changes of keys that share one of these take turns.
const TURNS: usize = 64;

type S3Reply<T> = S3Result<S3Response<T>>;

/// What a server makes of `If-None-Match: *` on a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// Of all puts of a key, one creates the object, and the others are refused.
    Kept,
    /// It is not known: every put replaces the object. So do `rclone serve s3` 1.75.2 and s3rver
    /// 3.7.1.
    Ignored,
    /// The server looks first and writes then: of puts at the same time, several succeed. So does
    /// Adobe's S3Mock 5.2.0.
    KeptAlone,
}

/// See the module's documentation.
#[derive(Clone)]
pub(super) struct Atomic {
    inner: Arc<FileSystem>,
    conditions: Conditions,
    hasher: RandomState,
    turns: Arc<[Mutex<()>; TURNS]>,
}

impl Atomic {
    pub(super) fn new(inner: FileSystem, conditions: Conditions) -> Self {
        Atomic {
            inner: Arc::new(inner),
            conditions,
            hasher: RandomState::new(),
            turns: Arc::new([(); TURNS].map(|()| Mutex::new(()))),
        }
    }

    /// Makes a change to `key` in a task of its own, when it is its turn.
    async fn change<T: Send + 'static, F>(
        &self,
        key: &str,
        change: impl FnOnce(Arc<FileSystem>) -> F + Send + 'static,
    ) -> S3Result<T>
    where
        F: Future<Output = S3Result<T>> + Send,
    {
        let turn = self.hasher.hash_one(key) as usize % TURNS;
        let (turns, inner) = (Arc::clone(&self.turns), Arc::clone(&self.inner));
        let task = tokio::spawn(async move {
            let _turn = turns[turn].lock().await;
            change(inner).await
        });
        task.await.map_err(S3Error::internal_error)?
    }
}

/// The whole body, so that nobody waits for a client that holds its turn.
async fn whole(body: Option<StreamingBlob>) -> S3Result<Option<StreamingBlob>> {
    let bytes = bytes_of(body).await?;
    Ok(bytes.map(|bytes| Body::from(bytes).into()))
}

/// How long a body takes to come, so that others look meanwhile whether the object is there.
const SLOW: Duration = Duration::from_millis(50);

/// A body that comes later than the condition is looked at.
async fn slow(body: Option<StreamingBlob>) -> S3Result<Option<StreamingBlob>> {
    let late = |bytes| {
        StreamingBlob::wrap(futures::stream::once(async move {
            tokio::time::sleep(SLOW).await;
            Ok::<_, std::io::Error>(bytes)
        }))
    };
    Ok(bytes_of(body).await?.map(late))
}

async fn bytes_of(body: Option<StreamingBlob>) -> S3Result<Option<Bytes>> {
    let Some(body) = body else { return Ok(None) };
    let whole = Body::from(body).collect().await;
    let whole = whole.map_err(|_| s3_error!(IncompleteBody))?;
    Ok(Some(whole.to_bytes()))
}

/// s3s-fs denies access to an upload that it does not know.
fn no_such_upload(error: S3Error) -> S3Error {
    match error.code() {
        S3ErrorCode::AccessDenied => s3_error!(NoSuchUpload),
        _ => error,
    }
}

#[async_trait::async_trait]
impl S3 for Atomic {
    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Reply<PutObjectOutput> {
        request.input.body = whole(request.input.body.take()).await?;
        match self.conditions {
            Conditions::Kept => {}
            Conditions::Ignored => request.input.if_none_match = None,
            Conditions::KeptAlone => {
                request.input.body = slow(request.input.body.take()).await?;
                return self.inner.put_object(request).await;
            }
        }
        let key = request.input.key.clone();
        self.change(&key, |files| async move { files.put_object(request).await })
            .await
    }

    async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Reply<UploadPartOutput> {
        request.input.body = whole(request.input.body.take()).await?;
        let key = request.input.key.clone();
        let change = self.change(
            &key,
            |files| async move { files.upload_part(request).await },
        );
        change.await.map_err(no_such_upload)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Reply<CreateMultipartUploadOutput> {
        self.inner.create_multipart_upload(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Reply<CompleteMultipartUploadOutput> {
        let key = request.input.key.clone();
        let change = self.change(&key, |files| async move {
            files.complete_multipart_upload(request).await
        });
        change.await.map_err(no_such_upload)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Reply<AbortMultipartUploadOutput> {
        let key = request.input.key.clone();
        let change = self.change(&key, |files| async move {
            files.abort_multipart_upload(request).await
        });
        change.await.map_err(no_such_upload)
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Reply<DeleteObjectOutput> {
        let key = request.input.key.clone();
        self.change(
            &key,
            |files| async move { files.delete_object(request).await },
        )
        .await
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Reply<DeleteObjectsOutput> {
        self.change(
            "",
            |files| async move { files.delete_objects(request).await },
        )
        .await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Reply<GetObjectOutput> {
        self.inner.get_object(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Reply<HeadObjectOutput> {
        self.inner.head_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Reply<ListObjectsV2Output> {
        self.inner.list_objects_v2(request).await
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Reply<ListObjectsOutput> {
        self.inner.list_objects(request).await
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Reply<CreateBucketOutput> {
        self.inner.create_bucket(request).await
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Reply<HeadBucketOutput> {
        self.inner.head_bucket(request).await
    }

    async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Reply<ListBucketsOutput> {
        self.inner.list_buckets(request).await
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Reply<GetBucketLocationOutput> {
        self.inner.get_bucket_location(request).await
    }
}
