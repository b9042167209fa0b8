//! Parameters of a request: each that is there must be known, and once unless it may be repeated.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::error::ApiError;
use crate::time;

/// Parameters in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(parameters)| Parameters(parameters))
            .map_err(|error| {
                ApiError::BadRequest(format!("the query string cannot be read: {error}"))
            })
    }
}

impl Parameters {
    /// Takes a parameter out.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let mut all = self.take_all(name);
        match all.len() {
            0 | 1 => Ok(all.pop()),
            _ => Err(ApiError::BadRequest(format!(
                "`{name}` is given {} times; give it once",
                all.len()
            ))),
        }
    }

    /// Takes all of a name out.
    pub(crate) fn take_all(&mut self, name: &str) -> Vec<String> {
        let mut taken = Vec::new();
        self.0.retain(|(key, value)| {
            let is_it = key == name;
            if is_it {
                taken.push(value.clone());
            }
            !is_it
        });
        taken
    }

    /// Takes a parameter out that has to be there.
    pub(crate) fn need(&mut self, name: &str) -> Result<String, ApiError> {
        self.take(name)?
            .ok_or_else(|| ApiError::BadRequest(format!("`{name}` is missing")))
    }

    /// Takes a time out, in microseconds since the Unix epoch.
    pub(crate) fn time(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        let text = self.take(name)?;
        text.map(|text| {
            time::read(&text).map_err(|error| ApiError::BadRequest(format!("`{name}`: {error}")))
        })
        .transpose()
    }

    /// Takes a number out that is at least 1 and at most `max`.
    pub(crate) fn limit(
        &mut self,
        name: &str,
        default: usize,
        max: usize,
    ) -> Result<usize, ApiError> {
        let Some(text) = self.take(name)? else {
            return Ok(default);
        };
        match text.parse() {
            Ok(number) if (1..=max).contains(&number) => Ok(number),
            _ => Err(ApiError::BadRequest(format!(
                "`{name}` is `{text}`, and has to be a number from 1 to {max}"
            ))),
        }
    }

    /// Refuses what nobody has taken.
    pub(crate) fn finish(self, known: &str) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::BadRequest(format!(
                "there is no parameter `{name}`; there are {known}"
            ))),
        }
    }
}
