//! What the guard lets through, and what it costs to try.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::routing::{get, post};
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;

mod connections;

const READER: &str = "reader-0123456789abcdef";
const SENDER: &str = "sender-0123456789abcdef";
const ADMIN: &str = "admin-0123456789abcdef";

/// Bytes of an answer that no socket's buffer takes whole.
const LARGE: usize = 32 << 20;

fn token(name: &str, secret: &str, role: Role) -> TokenOptions {
    TokenOptions {
        name: name.to_owned(),
        roles: vec![role],
        secret: Secret::Text(secret.to_owned()),
    }
}

fn with_tokens() -> GuardOptions {
    GuardOptions {
        tokens: vec![
            token("reader", READER, Role::Read),
            token("sender", SENDER, Role::Ingest),
            token("admin", ADMIN, Role::Admin),
        ],
        ..GuardOptions::default()
    }
}

fn with_limits(limits: Limits) -> GuardOptions {
    GuardOptions {
        limits,
        ..GuardOptions::default()
    }
}

/// Routes as the server has them, that answer with who asks, behind a guard.
fn guarded(options: &GuardOptions) -> (Arc<Guard>, Router) {
    let who = |caller: Option<Extension<Caller>>| async move {
        caller.map_or_else(String::new, |Extension(Caller(name))| name.to_string())
    };
    let routes = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/v1/status", get(who))
        .route("/v1/slow", get(async || std::future::pending::<()>().await))
        .route("/v1/large", get(async || "x".repeat(LARGE)))
        .route(
            "/v1/query",
            post(async |body: Bytes| body.len().to_string()),
        )
        .route("/v1/events", post(who))
        .route("/v1/admin", post(who));
    let guard = Arc::new(Guard::open(options).unwrap());
    let routes = guard.protect(routes);
    (guard, routes)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn ask(options: &GuardOptions, request: Request<Body>) -> Answer {
    let (_, routes) = guarded(options);
    let response = routes.oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer {
        status,
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    let builder = headers.iter().fold(builder, |builder, (name, value)| {
        builder.header(*name, *value)
    });
    builder.body(Body::empty()).unwrap()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn each_token_may_do_what_its_roles_say() {
    let options = with_tokens();
    for (method, path, allowed) in [
        (Method::GET, "/v1/status", [READER, ADMIN]),
        (Method::POST, "/v1/query", [READER, ADMIN]),
        (Method::POST, "/v1/events", [SENDER, ADMIN]),
        (Method::POST, "/v1/admin", [ADMIN, ADMIN]),
    ] {
        for token in [READER, SENDER, ADMIN] {
            let asked = request(method.clone(), path, &[("authorization", &bearer(token))]);
            let answer = ask(&options, asked).await;
            if allowed.contains(&token) {
                assert_eq!(answer.status, StatusCode::OK, "{method} {path} {token}");
                continue;
            }
            assert_eq!(
                answer.status,
                StatusCode::FORBIDDEN,
                "{method} {path} {token}"
            );
            let how = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(how.contains("insufficient_scope"), "{how}");
            assert!(
                answer.body.contains("\"forbidden\"") && !answer.body.contains(token),
                "{}",
                answer.body
            );
        }
    }
    let answer = ask(
        &options,
        request(
            Method::GET,
            "/v1/status",
            &[("authorization", &bearer(READER))],
        ),
    )
    .await;
    assert_eq!(answer.body, "reader");
}

#[tokio::test]
async fn without_a_right_token_nothing_is_said() {
    let options = with_tokens();
    let wrong = [
        vec![],
        vec![("authorization", "Bearer wrong-0123456789abcdef".to_owned())],
        vec![("authorization", "Bearer ".to_owned())],
        vec![("authorization", bearer(&READER[..READER.len() - 1]))],
        vec![("authorization", bearer(&format!("{READER}x")))],
        vec![("authorization", format!("Basic {READER}"))],
        vec![("authorization", READER.to_owned())],
        vec![("cookie", format!("token={READER}"))],
        vec![(
            "sec-websocket-protocol",
            format!("tidegate.bearer.{READER}"),
        )],
    ];
    for headers in &wrong {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        for path in ["/v1/status", "/v1/no-such-thing", "/metrics"] {
            let answer = ask(&options, request(Method::GET, path, &headers)).await;
            assert_eq!(
                answer.status,
                StatusCode::UNAUTHORIZED,
                "{path} {headers:?}"
            );
            let how = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(how.starts_with("Bearer realm=\"tidegate\""), "{how}");
            assert!(
                answer
                    .body
                    .starts_with("{\"error\":{\"code\":\"unauthorized\""),
                "{}",
                answer.body
            );
        }
    }
    assert_eq!(
        ask(&options, request(Method::GET, "/healthz", &[]))
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_token_in_the_url_is_refused_even_with_a_right_one_in_the_header() {
    for query in ["token", "access_token"] {
        let path = format!("/v1/status?view=a&{query}={READER}");
        let asked = request(Method::GET, &path, &[("authorization", &bearer(READER))]);
        let answer = ask(&with_tokens(), asked).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(
            answer.body.contains("token_in_url") && !answer.body.contains(READER),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_websocket_brings_its_token_as_a_subprotocol() {
    let encoded = URL_SAFE_NO_PAD.encode(READER);
    let offered = format!("something.else, tidegate.bearer.{encoded}");
    let asked = request(
        Method::GET,
        "/v1/status",
        &[("sec-websocket-protocol", &offered)],
    );
    let answer = ask(&with_tokens(), asked).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "reader")
    );
    let asked = request(
        Method::POST,
        "/v1/events",
        &[("sec-websocket-protocol", &offered)],
    );
    assert_eq!(
        ask(&with_tokens(), asked).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn pages_of_other_servers_may_do_nothing_unless_they_are_named() {
    let mut options = with_tokens();
    options.origins = vec!["https://dash.example".to_owned()];
    let (token, host) = (bearer(ADMIN), ("host", "tidegate.example"));
    let from = |method, origin: &str| {
        request(
            method,
            "/v1/events",
            &[("authorization", &token), host, ("origin", origin)],
        )
    };
    let evil = ask(&options, from(Method::POST, "https://evil.example")).await;
    assert_eq!(evil.status, StatusCode::FORBIDDEN);
    assert!(evil.body.contains("forbidden_origin"), "{}", evil.body);
    assert!(
        !evil
            .headers
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );
    assert_eq!(
        ask(&options, from(Method::POST, "null")).await.status,
        StatusCode::FORBIDDEN
    );
    let own = ask(&options, from(Method::POST, "https://tidegate.example")).await;
    assert_eq!(own.status, StatusCode::OK);
    let named = ask(&options, from(Method::POST, "https://dash.example")).await;
    assert_eq!(named.status, StatusCode::OK);
    assert_eq!(
        named.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://dash.example"
    );
    assert_eq!(named.headers[header::VARY], "origin");

    // A browser asks without a token whether it may send one.
    let preflight = |origin| {
        let asks = ("access-control-request-method", "POST");
        request(
            Method::OPTIONS,
            "/v1/events",
            &[host, ("origin", origin), asks],
        )
    };
    let named = ask(&options, preflight("https://dash.example")).await;
    assert_eq!(named.status, StatusCode::NO_CONTENT);
    let headers = named.headers[header::ACCESS_CONTROL_ALLOW_HEADERS]
        .to_str()
        .unwrap();
    assert!(headers.contains("authorization"), "{headers}");
    assert_eq!(
        ask(&options, preflight("https://evil.example"))
            .await
            .status,
        StatusCode::FORBIDDEN
    );

    // Reading is for the browser to keep from the page; a WebSocket it would not.
    let read = [
        ("authorization", token.as_str()),
        host,
        ("origin", "https://evil.example"),
    ];
    let read_answer = ask(&options, request(Method::GET, "/v1/status", &read)).await;
    assert!(
        !read_answer
            .headers
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );
    let socket = [&read[..], &[("upgrade", "websocket")]].concat();
    assert_eq!(
        ask(&options, request(Method::GET, "/v1/status", &socket))
            .await
            .status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn a_name_that_somebody_gave_to_loopback_is_not_answered_without_tokens() {
    let options = GuardOptions::default();
    let to = |host| request(Method::GET, "/v1/status", &[("host", host)]);
    assert_eq!(
        ask(&options, to("rebound.example:8080")).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        ask(&options, to("localhost:8080")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_body_is_bounded_whether_it_says_its_length_or_not() {
    let options = with_limits(Limits {
        body_bytes: 1000,
        ..Limits::default()
    });
    for (bytes, status) in [
        (1000, StatusCode::OK),
        (1001, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let known = Request::post("/v1/query")
            .body(Body::from(vec![b'x'; bytes]))
            .unwrap();
        assert_eq!(ask(&options, known).await.status, status);
        let parts = futures::stream::iter(
            (0..bytes).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"x"))),
        );
        let unknown = Request::post("/v1/query")
            .body(Body::from_stream(parts))
            .unwrap();
        assert_eq!(ask(&options, unknown).await.status, status);
    }
}

#[tokio::test]
async fn requests_at_the_same_time_are_bounded_and_health_is_answered_all_the_same() {
    let options = with_limits(Limits {
        requests: 2,
        ..Limits::default()
    });
    let (guard, routes) = guarded(&options);
    let ask = |path: &'static str| routes.clone().oneshot(request(Method::GET, path, &[]));
    let slow: Vec<_> = (0..2).map(|_| tokio::spawn(ask("/v1/slow"))).collect();
    while guard.slots.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let refused = ask("/v1/status").await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    assert_eq!(guard.refused.busy.load(Ordering::Relaxed), 1);
    assert_eq!(ask("/healthz").await.unwrap().status(), StatusCode::OK);
    for task in slow {
        task.abort();
        let _ = task.await;
    }
    assert_eq!(ask("/v1/status").await.unwrap().status(), StatusCode::OK);
}
