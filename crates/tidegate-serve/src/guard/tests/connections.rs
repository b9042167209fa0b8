//! What a peer may do with a connection: how slow, how silent and how large it may be.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// A guard that listens; it ends when this is dropped.
struct Listening {
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    guard: Arc<Guard>,
}

impl Listening {
    async fn start(options: &GuardOptions) -> Self {
        let (guard, routes) = guarded(options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&guard);
        let task = tokio::spawn(async move {
            serving
                .serve(listener, routes, async {
                    let _ = stopped.await;
                })
                .await;
        });
        Listening {
            address,
            stop: Some(stop),
            task,
            guard,
        }
    }

    /// With a small buffer, so that a large answer does not fit into those of the kernel.
    async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1 << 16).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Waits until so many requests are being answered.
    async fn until_answering(&self, requests: usize) {
        while self.guard.slots.available_permits() > Limits::default().requests - requests {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Sends text, and returns everything that comes until the other side closes, with how long that
/// took.
async fn talk(mut io: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> (String, Duration) {
    let began = Instant::now();
    // A server that has refused already may not read the rest.
    let _ = io.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), io.read_to_end(&mut answer))
        .await
        .expect("the server closes");
    (
        String::from_utf8_lossy(&answer).into_owned(),
        began.elapsed(),
    )
}

#[tokio::test]
async fn a_peer_that_is_slow_with_its_headers_or_silent_is_dropped() {
    let server = Listening::start(&with_limits(Limits {
        header_timeout: Duration::from_millis(200),
        ..Limits::default()
    }))
    .await;
    for beginning in [
        "",
        "GET /healthz HT",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
    ] {
        let (_, took) = talk(server.connect().await, beginning).await;
        assert!(
            (Duration::from_millis(150)..Duration::from_secs(10)).contains(&took),
            "{beginning}: {took:?}"
        );
    }
}

#[tokio::test]
async fn a_peer_that_is_slow_with_its_body_is_told_and_dropped() {
    let server = Listening::start(&with_limits(Limits {
        request_timeout: Duration::from_millis(200),
        ..Limits::default()
    }))
    .await;
    let text = "POST /v1/query HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nonly this";
    let (answer, took) = talk(server.connect().await, text).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("http.limits.request-timeout"), "{answer}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn headers_are_bounded_in_number_and_in_bytes() {
    let server = Listening::start(&GuardOptions::default()).await;
    let many: String = (0..1000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(100_000));
    for headers in [many, long] {
        let text = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        let (answer, _) = talk(server.connect().await, &text).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{answer}"
        );
    }
    let (answer, _) = talk(
        server.connect().await,
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn the_connection_that_is_silent_longest_makes_room_for_the_next_one() {
    let server = Listening::start(&with_limits(Limits {
        connections: 3,
        header_timeout: Duration::from_secs(600),
        ..Limits::default()
    }))
    .await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(server.connect().await);
    }
    let (answer, took) = talk(server.connect().await, HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let (nothing, _) = talk(silent.remove(0), "").await;
    assert_eq!(nothing, "", "the first one is closed");
    let (answer, _) = talk(silent.remove(0), HEALTH).await;
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "the others are not: {answer}"
    );
}

#[tokio::test]
async fn health_is_answered_while_every_place_is_taken_and_nothing_else_is() {
    let server = Listening::start(&with_limits(Limits {
        connections: 2,
        ..Limits::default()
    }))
    .await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut io = server.connect().await;
        io.write_all(b"GET /v1/slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        slow.push(io);
    }
    server.until_answering(2).await;
    // More silent ones than there are places for health.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(server.connect().await);
    }
    let (answer, took) = talk(server.connect().await, HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let other = "GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let (answer, _) = talk(server.connect().await, other).await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("http.limits.connections"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_connection_that_has_shown_a_token_stays() {
    let options = GuardOptions {
        limits: Limits {
            connections: 4,
            header_timeout: Duration::from_secs(600),
            ..Limits::default()
        },
        ..with_tokens()
    };
    let server = Listening::start(&options).await;
    let mut known = server.connect().await;
    let ask = format!(
        "GET /v1/status HTTP/1.1\r\nhost: localhost\r\nauthorization: {}\r\n\r\n",
        bearer(READER)
    );
    let mut answer = [0; 12];
    known.write_all(ask.as_bytes()).await.unwrap();
    known.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(server.connect().await);
    }
    let (answer, _) = talk(server.connect().await, HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let last = ask.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let (answer, _) = talk(known, &last).await;
    assert!(answer.ends_with("reader"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_its_connection() {
    let options = with_limits(Limits {
        request_timeout: Duration::from_millis(200),
        ..Limits::default()
    });
    let server = Listening::start(&options).await;
    let all = server.guard.unsent.available_permits();
    let mut io = server.connect().await;
    io.write_all(b"GET /v1/large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    // Something has come, so that the answer is on its way.
    io.readable().await.unwrap();
    let until = |wanted: bool| {
        let guard = Arc::clone(&server.guard);
        async move {
            let held = || guard.unsent.available_permits() < all;
            while held() != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), until(false))
        .await
        .expect("what was not read is let go of");
    let mut rest = Vec::new();
    let _ = io.read_to_end(&mut rest).await;
    assert!(rest.len() < LARGE, "{}", rest.len());
}

#[tokio::test]
async fn answers_that_nobody_has_read_yet_are_bounded_together() {
    let server = Listening::start(&with_limits(Limits {
        unsent_bytes: LARGE + (1 << 20),
        ..Limits::default()
    }))
    .await;
    let large = "GET /v1/large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut first = server.connect().await;
    first.write_all(large.as_bytes()).await.unwrap();
    first.readable().await.unwrap();
    let (second, _) = talk(server.connect().await, large).await;
    assert!(
        second.starts_with("HTTP/1.1 503") && second.contains("http.limits.unsent"),
        "{}",
        &second[..second.len().min(300)]
    );
    let (answer, _) = talk(first, "").await;
    assert!(answer.len() > LARGE);
    let (third, _) = talk(server.connect().await, large).await;
    assert!(
        third.starts_with("HTTP/1.1 200"),
        "{}",
        &third[..100.min(third.len())]
    );
}

#[tokio::test]
async fn the_end_waits_for_what_is_being_answered() {
    let options = with_limits(Limits {
        request_timeout: Duration::from_secs(1),
        ..Limits::default()
    });
    let mut server = Listening::start(&options).await;
    let slow = tokio::spawn(talk(
        server.connect().await,
        "GET /v1/slow HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ));
    let _idle = server.connect().await;
    // Connections are taken in turn: where a later one has an answer, the idle one is there, too.
    let (answer, _) = talk(server.connect().await, HEALTH).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.until_answering(1).await;
    drop(server.stop.take());
    let (answer, _) = slow.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    tokio::time::timeout(Duration::from_secs(5), server.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn tls_is_spoken_where_there_is_a_certificate() {
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let file = |name: &str| format!("{}/tests/tls/{name}.pem", env!("CARGO_MANIFEST_DIR")).into();
    let options = GuardOptions {
        tls: Some(TlsOptions {
            certificate: file("certificate"),
            key: file("key"),
        }),
        ..GuardOptions::default()
    };
    let server = Listening::start(&options).await;
    let mut roots = RootCertStore::empty();
    let certificate: std::path::PathBuf = file("certificate");
    roots
        .add(CertificateDer::from_pem_file(certificate).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let io = TlsConnector::from(Arc::new(config))
        .connect(name, server.connect().await)
        .await
        .unwrap();
    let text = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let (answer, _) = talk(io, text).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"),
        "{answer}"
    );
    let (plain, _) = talk(server.connect().await, text).await;
    assert!(!plain.contains("HTTP/1.1 200"), "{plain}");

    let missing = TlsOptions {
        certificate: "/no/such/file".into(),
        key: file("key"),
    };
    let error = tls::acceptor(&missing).err().unwrap().to_string();
    assert!(
        error.contains("/no/such/file") && error.contains("http.tls.certificate"),
        "{error}"
    );
    let swapped = TlsOptions {
        certificate: file("key"),
        key: file("key"),
    };
    assert!(tls::acceptor(&swapped).is_err());
}
