//! Work that takes processor time, apart from the threads that serve. These only hand on what is
//! there, so that health is answered at once, however much is being made for others.

use std::num::NonZeroUsize;
use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use crate::error::ApiError;

/// As many pieces of work at a time as there are cores: more would only wait for each other.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Semaphore::new(cores)
});

/// Does a piece of work while another thread serves. Pieces are short, and whoever has more of them
/// waits for each, so that all come on.
pub(crate) async fn aside<T>(work: impl FnOnce() -> T) -> T {
    // It is never closed.
    let _place = PLACES.acquire().await;
    match Handle::current().runtime_flavor() {
        // Of a test: there is no other thread.
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::block_in_place(work),
    }
}

/// An answer in JSON, which is made aside.
pub(crate) async fn json<T: Serialize>(body: T) -> Result<Response, ApiError> {
    let json = aside(move || serde_json::to_string(&body)).await;
    let json = json.map_err(|error| ApiError::unwritten(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}
