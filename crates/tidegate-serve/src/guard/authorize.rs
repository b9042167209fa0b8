//! Finds a request's token, and what its path needs.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::refusal::refuse;
use super::seats::Seat;
use super::token::Role;
use super::{Guard, count};

/// A browser cannot send headers with a WebSocket; it sends the token as a subprotocol with this
/// before it.
const SUBPROTOCOL: &str = "tidegate.bearer.";

/// Who a request is from: the name of its token. Limits go by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Caller(pub(crate) Arc<str>);

/// What a path needs; none if anybody may have it. A path that is not listed here needs a token all
/// the same.
pub(crate) fn needed(method: &Method, path: &str) -> Option<Role> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match path {
        "/healthz" | "/readyz" | "/" if reads => None,
        _ if reads && path.starts_with("/assets/") => None,
        _ if reads => Some(Role::Read),
        "/v1/query" if *method == Method::POST => Some(Role::Read),
        "/v1/events" if *method == Method::POST => Some(Role::Ingest),
        _ => Some(Role::Admin),
    }
}

/// Passes a request on whose token may do what it asks for.
pub(super) async fn authorize(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    if has_token_in_query(request.uri().query().unwrap_or_default()) {
        return refuse(
            StatusCode::BAD_REQUEST,
            "token_in_url",
            "a token in a URL ends up in logs and histories; send the header `Authorization: Bearer TOKEN`, \
             and take another token, because this one may be in some log now",
        );
    }
    let Some(needed) = needed(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    if guard.access.is_empty() {
        request.extensions_mut().insert(Caller("anybody".into()));
        return next.run(request).await;
    }
    let offered = offered_subprotocol(&request);
    let token = match presented(&request, offered.as_ref()) {
        None => {
            count(&guard.refused.unauthorized);
            return challenge(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "this needs a token: send the header `Authorization: Bearer TOKEN`",
                "Bearer realm=\"tidegate\"",
            );
        }
        Some(presented) => guard.access.find(&presented),
    };
    let Some(token) = token else {
        count(&guard.refused.unauthorized);
        return challenge(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "this token is not one of [[http.tokens]]",
            "Bearer realm=\"tidegate\", error=\"invalid_token\"",
        );
    };
    if !token.may(needed) {
        count(&guard.refused.forbidden);
        let (name, needed) = (&token.name, needed.name());
        return challenge(
            StatusCode::FORBIDDEN,
            "forbidden",
            &format!(
                "the token `{name}` may not do this: it needs the role `{needed}` in [[http.tokens]]"
            ),
            &format!("Bearer realm=\"tidegate\", error=\"insufficient_scope\", scope=\"{needed}\""),
        );
    }
    if let Some(seat) = request.extensions().get::<Seat>() {
        seat.has_token();
    }
    request
        .extensions_mut()
        .insert(Caller(Arc::clone(&token.name)));
    let mut response = next.run(request).await;
    if let Some(offered) = offered
        && response.status() == StatusCode::SWITCHING_PROTOCOLS
    {
        // A browser gives a WebSocket up that takes none of the subprotocols that it offered.
        let headers = response.headers_mut();
        headers
            .entry(header::SEC_WEBSOCKET_PROTOCOL)
            .or_insert(offered);
    }
    response
}

/// The secret that a request presents.
fn presented(request: &Request, subprotocol: Option<&HeaderValue>) -> Option<Vec<u8>> {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().as_bytes().to_vec());
    }
    let encoded = subprotocol?.to_str().ok()?.strip_prefix(SUBPROTOCOL)?;
    URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()
}

/// The subprotocol that carries a token, of those that a WebSocket's request offers.
fn offered_subprotocol(request: &Request) -> Option<HeaderValue> {
    request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .find(|offered| offered.starts_with(SUBPROTOCOL))
        .and_then(|offered| HeaderValue::from_str(offered).ok())
}

fn has_token_in_query(query: &str) -> bool {
    query
        .split('&')
        .map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name))
        .any(|name| matches!(name, "token" | "access_token"))
}

fn challenge(status: StatusCode, code: &'static str, message: &str, how: &str) -> Response {
    let mut response = refuse(status, code, message);
    if let Ok(how) = HeaderValue::from_str(how) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_needs_a_token_too() {
        let cases = [
            ("GET", "/healthz", None),
            ("GET", "/", None),
            ("HEAD", "/assets/app.js", None),
            ("GET", "/v1/status", Some(Role::Read)),
            ("GET", "/metrics", Some(Role::Read)),
            ("GET", "/openapi.json", Some(Role::Read)),
            ("GET", "/v1/whatever", Some(Role::Read)),
            ("POST", "/v1/query", Some(Role::Read)),
            ("POST", "/v1/events", Some(Role::Ingest)),
            ("GET", "/v1/events/TXN_1", Some(Role::Read)),
            ("POST", "/v1/events/TXN_1", Some(Role::Admin)),
            ("POST", "/healthz", Some(Role::Admin)),
            ("DELETE", "/v1/status", Some(Role::Admin)),
        ];
        for (method, path, role) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(needed(&method, path), role, "{method} {path}");
        }
    }

    #[test]
    fn a_token_in_a_query_is_seen() {
        assert!(has_token_in_query("view=a&token=x") && has_token_in_query("access_token"));
        assert!(!has_token_in_query("") && !has_token_in_query("group.token=x&view=token"));
    }
}
