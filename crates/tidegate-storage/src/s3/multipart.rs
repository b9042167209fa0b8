//! Large objects, in parts that are put at the same time.
//!
//! The parts are nothing until the upload is completed: then the object is there as a whole, or, if
//! the name was taken, not at all. `object_store` completes without that condition, so
//! [`CreateOnComplete`] adds it. A service that does not know it overwrites; that harms nothing,
//! since only data files go in parts, whose names are unique to their writer, which puts the same
//! content under each as often as it tries.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, HeaderValue, MultipartId, ObjectStoreExt, PutPayload, PutResult, Result,
};

use super::retry::{Retry, is_conflict, is_transient};

/// The least size of a part that is not the last, in bytes: S3's limit.
pub(super) const PART_SIZE_MIN: usize = 5 << 20;

/// The most parts that an object can have: S3's limit.
const PARTS_MAX: usize = 10_000;

/// How large objects are put.
#[derive(Debug, Clone, Copy)]
pub(super) struct Multipart {
    /// Bytes of a part.
    pub(super) part_size: usize,
    /// Parts that are put at the same time.
    pub(super) parts_in_flight: usize,
}

impl Multipart {
    /// Creates an object; what was put of it is removed again if that fails.
    pub(super) async fn create(
        self,
        store: &AmazonS3,
        retry: &Retry,
        at: &Path,
        payload: &PutPayload,
    ) -> Result<PutResult> {
        let upload = retry
            .run(is_transient, || store.create_multipart(at))
            .await?;
        let result = self.upload(store, retry, at, &upload, payload).await;
        let Err(error) = result else { return result };
        match store.abort_multipart(at, &upload).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            // The bucket's lifecycle rule for incomplete uploads removes it.
            Err(abort) => {
                tracing::warn!(path = %at, error = %abort, "parts of an upload that failed stay behind")
            }
        }
        match error {
            Error::Precondition { .. } => Err(exists(at, error)),
            error if is_conflict(&error) || is_transient(&error) => Err(error),
            // Perhaps the upload is no more because an earlier try completed it, and the answer was
            // lost.
            error => match store.head(at).await {
                Ok(found) if found.size == payload.content_length() as u64 => {
                    Err(exists(at, error))
                }
                _ => Err(error),
            },
        }
    }

    async fn upload(
        self,
        store: &AmazonS3,
        retry: &Retry,
        at: &Path,
        upload: &MultipartId,
        payload: &PutPayload,
    ) -> Result<PutResult> {
        let parts: Vec<PartId> = stream::iter(self.parts(payload).into_iter().enumerate())
            .map(|(index, part)| async move {
                retry
                    .run(is_transient, || {
                        store.put_part(at, upload, index, part.clone().into())
                    })
                    .await
            })
            .buffered(self.parts_in_flight)
            .try_collect()
            .await?;
        store.complete_multipart(at, upload, parts).await
    }

    /// Cuts `payload`, without copying it where it is in one piece.
    fn parts(self, payload: &PutPayload) -> Vec<Bytes> {
        let bytes: Bytes = payload.clone().into();
        let size = self.part_size.max(bytes.len().div_ceil(PARTS_MAX));
        (0..bytes.len())
            .step_by(size)
            .map(|from| bytes.slice(from..(from + size).min(bytes.len())))
            .collect()
    }
}

/// `412`, as a put that is not in parts reports it: with `object_store`'s own error behind it.
fn exists(at: &Path, error: Error) -> Error {
    Error::AlreadyExists {
        path: at.to_string(),
        source: Box::new(error),
    }
}

/// Makes clients that complete an upload only if the object is absent.
#[derive(Debug)]
pub(super) struct CreateOnComplete;

impl HttpConnector for CreateOnComplete {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(CreateOnCompleteClient { inner }))
    }
}

#[derive(Debug)]
struct CreateOnCompleteClient {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for CreateOnCompleteClient {
    async fn call(&self, mut request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        // A POST with an upload's id completes it. The header need not be signed.
        if request.method() == "POST" && query.contains("uploadId=") {
            request
                .headers_mut()
                .insert("if-none-match", HeaderValue::from_static("*"));
        }
        self.inner.execute(request).await
    }
}
