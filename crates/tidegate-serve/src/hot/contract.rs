//! What every hot store must do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tidegate_testkit::{Redis, RedisCluster};

use super::memory::MemoryStore;
use super::redis::RedisStore;
use super::{HotStore, HotView, HotWindow, HotWindows};
use crate::number::Number;
use crate::options::HotOptions;
use crate::view::Part;

/// Microseconds between windows.
const SLIDE: i64 = 60_000_000;
const KEEP: i64 = 7_200_000_000;

/// A view under one definition.
const fn view(name: &str) -> HotView<'_> {
    HotView {
        name,
        definition: "d1",
    }
}

fn part(start: i64, lane: i32, group: &str, value: i128) -> Part {
    Part {
        start,
        lane,
        group: group.into(),
        values: [Number::Int(value), Number::Float(0.5), Number::Null].into(),
    }
}

fn windows(parts: &[Part]) -> HotWindows {
    let mut windows = HotWindows::new();
    for part in parts {
        windows
            .entry(part.start)
            .or_default()
            .put_part(part.clone());
    }
    windows
}

/// A store in the Redis at `url`.
fn redis_store(url: &str, job: &str) -> RedisStore {
    RedisStore::new(url, &HotOptions::default(), job).unwrap()
}

/// The present, on a window's start.
fn now() -> i64 {
    let now = tidegate_base::clock::Clock::System.now_micros();
    now.div_euclid(SLIDE) * SLIDE
}

/// What a store has.
async fn read(store: &dyn HotStore, view: HotView<'_>, starts: (i64, i64)) -> HotWindows {
    let windows = store.read(view, starts, SLIDE).await.unwrap();
    windows
        .into_iter()
        .map(|(start, window)| (start, window.as_ref().clone()))
        .collect()
}

async fn check(store: &dyn HotStore) {
    let now = now();
    let all = (now - 100 * SLIDE, now + 100 * SLIDE);
    assert_eq!(read(store, view("v"), all).await, HotWindows::new());

    let first = windows(&[
        part(now, 0, "[\"a\"]", 1),
        part(now, 1, "[\"a\"]", 2),
        part(now - SLIDE, 0, "[null,1.5]", 3),
    ]);
    store.write(view("v"), &first, now).await.unwrap();
    assert_eq!(read(store, view("v"), all).await, first);

    // Writing again changes nothing; a newer value takes the place of its own key alone.
    store.write(view("v"), &first, now).await.unwrap();
    assert_eq!(read(store, view("v"), all).await, first);
    store
        .write(view("v"), &windows(&[part(now, 1, "[\"a\"]", 5)]), now)
        .await
        .unwrap();
    let newer = windows(&[
        part(now, 0, "[\"a\"]", 1),
        part(now, 1, "[\"a\"]", 5),
        part(now - SLIDE, 0, "[null,1.5]", 3),
    ]);
    assert_eq!(read(store, view("v"), all).await, newer);

    // A range has its first window and not its last one.
    let found = read(store, view("v"), (now - SLIDE, now)).await;
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [now - SLIDE]);
    assert_eq!(read(store, view("v"), (now, now)).await, HotWindows::new());
    assert_eq!(read(store, view("other"), all).await, HotWindows::new());

    // What is left out is known until it is not any more.
    let mut left_out = HotWindows::new();
    left_out.insert(
        now,
        HotWindow {
            left_out: [(1, 7)].into(),
            ..HotWindow::default()
        },
    );
    store.write(view("v"), &left_out, now).await.unwrap();
    assert_eq!(
        read(store, view("v"), (now, now + 1)).await[&now].left_out(),
        7
    );
    left_out.insert(
        now,
        HotWindow {
            left_out: [(1, 0)].into(),
            ..HotWindow::default()
        },
    );
    store.write(view("v"), &left_out, now).await.unwrap();
    assert_eq!(read(store, view("v"), all).await, newer);

    // Many windows and values, and values of every kind.
    let many: Vec<Part> = (0..50)
        .flat_map(|n| (0..100).map(move |lane| part(now + n * SLIDE, lane, "[\"x|y!\"]", n.into())))
        .collect();
    let many = windows(&many);
    store.write(view("many"), &many, now).await.unwrap();
    assert_eq!(read(store, view("many"), all).await, many);
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    check(&MemoryStore::new(KEEP)).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let Some(redis) = Redis::start() else { return };
    let store = redis_store(&redis.url(), "job");
    check(&store).await;
    // Another process, and another job.
    let now = now();
    let other = redis_store(&redis.url(), "job");
    assert!(
        !other
            .read(view("v"), (now, now + 1), SLIDE)
            .await
            .unwrap()
            .is_empty()
    );
    let stranger = redis_store(&redis.url(), "other");
    assert!(
        stranger
            .read(view("v"), (now, now + 1), SLIDE)
            .await
            .unwrap()
            .is_empty()
    );
    // The layout is documented: others read it too.
    let field = redis.ask(&["HGET", &format!("tidegate:job:v:d1:{now}"), "1|[\"a\"]"]);
    assert_eq!(field.trim(), "[5,0.5,null]");
    let ttl: i64 = redis
        .ask(&["PTTL", &format!("tidegate:job:v:d1:{now}")])
        .trim()
        .parse()
        .unwrap();
    assert!(
        (KEEP / 1_000 - 120_000..=KEEP / 1_000).contains(&ttl),
        "{ttl}"
    );
    assert_eq!(redis.ask(&["GET", "tidegate:job:v"]).trim(), "d1");
}

#[tokio::test]
async fn definitions_of_a_view_do_not_see_each_others_values_in_redis() {
    let Some(redis) = Redis::start() else { return };
    let (old, new) = (
        redis_store(&redis.url(), "job"),
        redis_store(&redis.url(), "job"),
    );
    let now = now();
    let at = (now, now + 1);
    let grouped_anew = HotView {
        definition: "d2",
        ..view("v")
    };
    let before = windows(&[part(now, 0, "[\"a\"]", 1), part(now, 1, "[\"b\"]", 2)]);
    old.write(view("v"), &before, now).await.unwrap();
    assert!(read(&new, grouped_anew, at).await.is_empty());
    let after = windows(&[part(now, 0, "[7]", 3)]);
    new.write(grouped_anew, &after, now).await.unwrap();
    assert_eq!(read(&new, grouped_anew, at).await, after);
    assert_eq!(redis.ask(&["GET", "tidegate:job:v"]).trim(), "d2");
    // A process that does not know yet that it has been replaced.
    let late = windows(&[part(now, 0, "[\"c\"]", 4)]);
    old.write(view("v"), &late, now).await.unwrap();
    assert_eq!(read(&new, grouped_anew, at).await, after);
    new.write(grouped_anew, &after, now).await.unwrap();
    assert_eq!(redis.ask(&["GET", "tidegate:job:v"]).trim(), "d2");
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let Some(cluster) = RedisCluster::start() else {
        return;
    };
    let options = HotOptions {
        is_cluster: true,
        ..HotOptions::default()
    };
    // One node is enough to find the others.
    let store = RedisStore::new(&cluster.nodes()[0].url(), &options, "job").unwrap();
    check(&store).await;
    for node in cluster.nodes() {
        let keys: u64 = node.ask(&["DBSIZE"]).trim().parse().unwrap();
        assert!(keys > 5, "each node has its share: {keys}");
    }
}

#[tokio::test]
async fn redis_with_tls_keeps_the_contract_and_is_not_believed_without_its_authority() {
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    let certificate = tls.join("certificate.pem");
    let Some(redis) = Redis::start_tls(&certificate, &tls.join("key.pem")) else {
        return;
    };
    let url = redis.url();
    let with = |ca: Option<PathBuf>| {
        let options = HotOptions {
            ca,
            ..HotOptions::default()
        };
        RedisStore::new(&url, &options, "job")
    };
    check(&with(Some(certificate)).unwrap()).await;
    let stranger = with(None).unwrap().check().await.unwrap_err();
    assert!(stranger.to_string().contains("certificate"), "{stranger}");
    let missing = with(Some("missing.pem".into())).unwrap_err().to_string();
    assert!(
        missing.contains("cannot read missing.pem (hot.ca)"),
        "{missing}"
    );
}

#[tokio::test]
async fn memory_forgets_what_is_old_and_what_is_too_much() {
    let store = MemoryStore::with_values_max(KEEP, 10);
    let now = now();
    let parts: Vec<Part> = (0..4)
        .flat_map(|n| (0..4).map(move |lane| part(now + n * SLIDE, lane, "[]", 1)))
        .collect();
    store.write(view("v"), &windows(&parts), now).await.unwrap();
    let kept = read(&store, view("v"), (0, i64::MAX)).await;
    assert_eq!(
        kept.keys().copied().collect::<Vec<_>>(),
        [now + 2 * SLIDE, now + 3 * SLIDE]
    );
    assert_eq!(store.floor("v"), Some(now + SLIDE + 1));
    store
        .write(view("v"), &HotWindows::new(), now + KEEP + 3 * SLIDE)
        .await
        .unwrap();
    assert!(read(&store, view("v"), (0, i64::MAX)).await.is_empty());
}

#[tokio::test]
async fn a_redis_that_is_away_is_an_error_at_once_and_comes_back() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let store: Arc<dyn HotStore> = Arc::new(redis_store(&redis.url(), "job"));
    let now = now();
    let values = windows(&[part(now, 0, "[]", 1)]);
    store.write(view("v"), &values, now).await.unwrap();
    redis.stop();
    let began = std::time::Instant::now();
    assert!(store.write(view("v"), &values, now).await.is_err());
    let error = store
        .read(view("v"), (now, now + 1), SLIDE)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&redis.url()), "{error}");
    assert!(began.elapsed().as_secs() < 5);
    redis.resume();
    // Asked again after a moment.
    let mut tries = 0;
    while let Err(error) = store.write(view("v"), &values, now).await {
        tries += 1;
        assert!(tries < 50, "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(
        read(store.as_ref(), view("v"), (now, now + 1)).await,
        values
    );
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_noticed_once() {
    let Some(redis) = Redis::start() else { return };
    let store = redis_store(&redis.url(), "job");
    assert!(store.check().await.unwrap());
    assert!(store.check().await.unwrap());
    redis.ask(&["FLUSHALL"]);
    assert!(!store.check().await.unwrap());
    assert!(store.check().await.unwrap());
}

/// Passes on what is sent to the server at `to`, and its answers while `is_heard`.
fn relay(to: String, is_heard: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&to) else {
                return;
            };
            let (mut asks, mut asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut asks, &mut asked));
            let (mut client, mut server, is_heard) = (client, server, Arc::clone(&is_heard));
            thread::spawn(move || {
                let mut answer = [0; 4096];
                while let Ok(bytes @ 1..) = server.read(&mut answer) {
                    let heard = is_heard.load(Ordering::Relaxed);
                    if heard && client.write_all(&answer[..bytes]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("redis://{address}")
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_noticed_although_the_first_answer_after_it_is_lost() {
    let Some(redis) = Redis::start() else { return };
    let is_heard = Arc::new(AtomicBool::new(true));
    let address = redis.url().replace("redis://", "");
    let store = redis_store(&relay(address, Arc::clone(&is_heard)), "job");
    assert!(store.check().await.unwrap());
    assert!(store.check().await.unwrap());
    redis.ask(&["FLUSHALL"]);
    is_heard.store(false, Ordering::Relaxed);
    // Redis has set the mark again, and nobody knows what it has answered.
    assert!(store.check().await.is_err());
    assert!(redis.ask(&["KEYS", "*"]).contains("process"));
    is_heard.store(true, Ordering::Relaxed);
    let answer = loop {
        if let Ok(answer) = store.check().await {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert!(!answer);
    assert!(store.check().await.unwrap());
}
