//! What web pages of other servers may do: nothing, unless they are named.
//!
//! A page can make a browser send requests to an address that only the browser can reach, such as
//! loopback, by itself or by giving its own name that address. Tokens stop that; where there are
//! none, the name in `Host` does.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Guard;
use super::refusal::refuse;

/// How long a browser may remember what it was allowed, in seconds.
const REMEMBER: HeaderValue = HeaderValue::from_static("600");

/// The pages that may ask.
#[derive(Debug)]
pub(super) struct Origins {
    allowed: Vec<String>,
    /// Nobody needs a token, so that only names of loopback are answered.
    loopback_only: bool,
}

impl Origins {
    pub(super) fn new(allowed: &[String], loopback_only: bool) -> Self {
        Origins {
            allowed: allowed.to_vec(),
            loopback_only,
        }
    }

    fn allows(&self, origin: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == origin)
    }

    /// Whether a request to this host is meant for this server.
    fn knows(&self, host: &str) -> bool {
        !self.loopback_only
            || matches!(name(host), "localhost" | "[::1]")
            || name(host)
                .parse::<std::net::Ipv4Addr>()
                .is_ok_and(|ip| ip.is_loopback())
            || self
                .allowed
                .iter()
                .any(|allowed| authority(allowed) == host)
    }
}

/// Refuses what a page of another server asks for, unless it is allowed.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let host = text(request.headers(), &header::HOST)
        .unwrap_or_default()
        .to_owned();
    if !host.is_empty() && !guard.origins.knows(&host) {
        return refuse(
            StatusCode::FORBIDDEN,
            "forbidden_host",
            format!(
                "without [[http.tokens]] only names of loopback are answered, and `{host}` is none; configure tokens, \
                 or name `https://{host}` in http.cors-origins"
            ),
        );
    }
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return next.run(request).await;
    };
    let shown = origin.to_str().unwrap_or_default();
    if !host.is_empty() && authority(shown) == host {
        return next.run(request).await;
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let upgrades = request.headers().contains_key(header::UPGRADE);
    if !guard.origins.allows(shown) {
        if !changes && !upgrades {
            // Without our permission in the answer, the browser keeps it from the page.
            return next.run(request).await;
        }
        return refuse(
            StatusCode::FORBIDDEN,
            "forbidden_origin",
            format!("pages of `{shown}` may not do this; name it in http.cors-origins if they may"),
        );
    }
    let mut response = if is_preflight(&request) {
        allowed_to_ask()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("retry-after, www-authenticate"),
    );
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    response
}

/// Whether a browser asks if it may ask.
fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn allowed_to_ask() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type, idempotency-key"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBER);
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `host:port` of `https://host:port`.
fn authority(origin: &str) -> &str {
    origin
        .split_once("://")
        .map_or("", |(_, authority)| authority)
}

/// A host without its port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tokens_only_names_of_loopback_are_known() {
        let origins = Origins::new(&["https://dash.example".to_owned()], true);
        for known in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:1",
            "127.0.0.1",
            "[::1]:80",
            "[::1]",
            "dash.example",
        ] {
            assert!(origins.knows(known), "{known}");
        }
        for unknown in [
            "evil.example",
            "evil.example:8080",
            "10.0.0.1",
            "localhost.evil.example",
            "::1:80",
        ] {
            assert!(!origins.knows(unknown), "{unknown}");
        }
        assert!(Origins::new(&[], false).knows("tidegate.example"));
    }
}
