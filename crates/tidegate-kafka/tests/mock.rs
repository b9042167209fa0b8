//! The Kafka source against librdkafka's own mock of a cluster, which can be told to refuse.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tidegate_base::clock::Clock;
use tidegate_kafka::{KafkaClient, KafkaOptions, KafkaSource, MissingOffsets};
use tidegate_source::{ChunkLimits, Resume, ResumePartition, Source, SourceError};
use tidegate_testkit::taken::{SourceOutput, take_until};

const CLIENTS: [KafkaClient; 2] = [KafkaClient::Auto, KafkaClient::Librdkafka];
const REFUSED: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
const UNKNOWN: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN;
const FINE: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 1, 1).unwrap();
    cluster
}

fn options(cluster: &Cluster, client: KafkaClient) -> KafkaOptions {
    KafkaOptions {
        client,
        brokers: cluster.bootstrap_servers(),
        topic: "orders".to_owned(),
        group: "tidegate".to_owned(),
        ..KafkaOptions::default()
    }
}

fn opened(options: &KafkaOptions, resume: &Resume) -> Box<dyn Source> {
    let limits = ChunkLimits::default();
    Box::new(KafkaSource::open(options, resume, limits, &Clock::System).unwrap())
}

fn send(cluster: &Cluster, values: impl Iterator<Item = i32>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .unwrap();
    for value in values {
        let value = value.to_string();
        let record = BaseRecord::<(), str>::to("orders")
            .partition(0)
            .payload(&value);
        producer.send(record).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// Polls until `is_done`, which has to be soon.
fn poll_until(
    source: &mut dyn Source,
    taken: &mut SourceOutput,
    is_done: impl Fn(&dyn Source) -> bool,
) {
    let begun = Instant::now();
    while !is_done(source) {
        assert!(begun.elapsed() < Duration::from_secs(60));
        taken.take(source.poll(Duration::from_millis(20)).unwrap());
    }
}

#[test]
fn a_topic_that_may_not_be_read_for_a_while_is_waited_for() {
    for client in CLIENTS {
        let cluster = cluster();
        send(&cluster, 0..10);
        cluster.topic_error("orders", REFUSED).unwrap();
        let mut source = opened(&options(&cluster, client), &Resume::default());
        let mut taken = SourceOutput::default();
        poll_until(source.as_mut(), &mut taken, |source| {
            source.unreachable().is_some()
        });
        let unreachable = source.unreachable().unwrap();
        for part in ["`orders`", "uthorization", "permissions"] {
            assert!(unreachable.error.contains(part), "{}", unreachable.error);
        }
        cluster.topic_error("orders", FINE).unwrap();
        take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
        assert_eq!(taken.texts(0).len(), 10);
        assert_eq!(source.unreachable(), None);
    }
}

#[test]
fn a_topic_that_may_not_be_read_ends_the_source_only_where_configured() {
    let cluster = cluster();
    cluster.topic_error("orders", REFUSED).unwrap();
    let strict = KafkaOptions {
        fail_after: Some(Duration::from_secs(1)),
        ..options(&cluster, KafkaClient::Auto)
    };
    let mut source = opened(&strict, &Resume::default());
    let error = take_until(source.as_mut(), &mut SourceOutput::default(), |_| false).unwrap_err();
    assert!(matches!(error, SourceError::Refused { .. }), "{error}");
    for part in ["`orders`", "permissions", "source.fail-after"] {
        assert!(error.to_string().contains(part), "no {part} in: {error}");
    }
}

#[test]
fn an_error_that_a_broker_does_not_name_is_tried_again() {
    for client in CLIENTS {
        let cluster = cluster();
        send(&cluster, 0..10);
        cluster.request_errors(RDKafkaApiKey::Fetch, &[UNKNOWN, REFUSED, UNKNOWN]);
        let mut source = opened(&options(&cluster, client), &Resume::default());
        let mut taken = SourceOutput::default();
        take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
        assert_eq!(taken.texts(0).len(), 10, "{client:?}");
        poll_until(source.as_mut(), &mut taken, |source| {
            source.unreachable().is_none()
        });
    }
}

#[test]
fn a_cluster_that_was_never_reached_is_said_to_be_unreachable() {
    let mut options = options(&cluster(), KafkaClient::Auto);
    options.brokers = "127.0.0.1:1".to_owned();
    let mut source = opened(&options, &Resume::default());
    assert_eq!(source.unreachable(), None, "it has not been tried");
    let before = Clock::System.now_micros();
    poll_until(source.as_mut(), &mut SourceOutput::default(), |source| {
        source.unreachable().is_some()
    });
    let first = source.unreachable().unwrap();
    assert!(first.since >= before && first.since <= Clock::System.now_micros());
    assert!(first.error.contains("127.0.0.1:1"), "{}", first.error);
    source.poll(Duration::from_millis(20)).unwrap();
    assert_eq!(source.unreachable().unwrap().since, first.since);
}

#[test]
fn a_cluster_that_goes_away_is_unreachable_until_it_is_back() {
    for client in CLIENTS {
        let cluster = cluster();
        send(&cluster, 0..10);
        let mut source = opened(&options(&cluster, client), &Resume::default());
        let mut taken = SourceOutput::default();
        take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
        assert_eq!(source.unreachable(), None);
        cluster.broker_down(-1).unwrap();
        poll_until(source.as_mut(), &mut taken, |source| {
            source.unreachable().is_some()
        });
        cluster.broker_up(-1).unwrap();
        send(&cluster, 10..20);
        take_until(source.as_mut(), &mut taken, |t| t.records[&0].len() == 20).unwrap();
        poll_until(source.as_mut(), &mut taken, |source| {
            source.unreachable().is_none()
        });
    }
}

#[test]
fn a_history_that_is_not_the_one_that_was_read_is_refused_or_read_whole() {
    for client in CLIENTS {
        let cluster = cluster();
        send(&cluster, 0..30);
        let options = options(&cluster, client);
        let mut taken = SourceOutput::default();
        let mut source = opened(&options, &Resume::default());
        take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
        drop(source);
        let resume = taken.resume();
        let identity = resume.partitions[&0].identity.clone().unwrap();
        assert!(identity.contains("epoch="), "{identity}");

        // As it is after the end of an epoch was lost: the leader knows only those before.
        let mut other = resume.clone();
        let epoch = identity
            .split(';')
            .find(|part| part.starts_with("epoch="))
            .unwrap();
        let later = identity.replace(epoch, "epoch=1000");
        other.partitions.get_mut(&0).unwrap().identity = Some(later);
        let mut source = opened(&options, &other);
        let end = take_until(source.as_mut(), &mut SourceOutput::default(), |t| {
            t.caught_up
        });
        let error = end.unwrap_err();
        assert!(
            matches!(error, SourceError::HistoryCut { read: 30, .. }),
            "{client:?}: {error}"
        );

        let lenient = KafkaOptions {
            on_missing_offsets: MissingOffsets::Earliest,
            ..options
        };
        let mut source = opened(&lenient, &other);
        let mut rest = SourceOutput::default();
        take_until(source.as_mut(), &mut rest, |t| {
            t.records.get(&0).is_some_and(|records| records.len() == 30)
        })
        .unwrap();
        assert_eq!(source.replaced(), 1);
        let offsets = rest.records[&0].iter().map(|(offset, ..)| *offset);
        assert_eq!(offsets.collect::<Vec<_>>(), (30..60).collect::<Vec<_>>());
        drop(source);

        // And that is known the next time.
        send(&cluster, 30..35);
        let mut source = opened(&options_like(&lenient), &rest.resume());
        let mut last = SourceOutput::default();
        take_until(source.as_mut(), &mut last, |t| {
            t.records.get(&0).is_some_and(|records| records.len() == 5)
        })
        .unwrap();
        assert_eq!(last.texts(0), ["30", "31", "32", "33", "34"]);
        assert_eq!(source.replaced(), 0);
        assert_eq!(last.ends[&0], 65);
    }
}

#[test]
fn a_partition_that_was_read_and_is_not_there_any_more_ends_the_source_with_what_to_do() {
    let cluster = cluster();
    send(&cluster, 0..10);
    let strict = options(&cluster, KafkaClient::Auto);
    let mut taken = SourceOutput::default();
    let mut source = opened(&strict, &Resume::default());
    take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
    drop(source);
    let mut resume = taken.resume();
    let of_before = ResumePartition {
        name: "orders/1".to_owned(),
        lane: 1,
        offset: 5,
        identity: None,
    };
    resume.partitions.insert(1, of_before);
    let lenient = KafkaOptions {
        on_missing_offsets: MissingOffsets::Earliest,
        ..strict.clone()
    };
    for options in [strict, lenient] {
        let mut source = opened(&options, &resume);
        let mut rest = SourceOutput::default();
        let error = take_until(source.as_mut(), &mut rest, |_| false).unwrap_err();
        assert!(
            matches!(
                error,
                SourceError::PartitionGone {
                    partition: 1,
                    read: 5,
                    partitions: 1,
                    ..
                }
            ),
            "{error}"
        );
        for part in [
            "`orders`",
            "no partition 1 any more",
            "up to offset 5",
            "needs a new job",
        ] {
            assert!(error.to_string().contains(part), "no {part} in: {error}");
        }
        assert_eq!(rest.chunks, 0, "nothing is read of what is not whole");
    }
}

#[test]
fn a_topic_without_an_id_that_was_made_anew_is_known_by_its_last_record() {
    for client in CLIENTS {
        let cluster = cluster_without_ids();
        send_at(&cluster, 0..30, BEFORE);
        let mut taken = SourceOutput::default();
        let mut source = opened(&options(&cluster, client), &Resume::default());
        take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
        drop(source);
        let resume = taken.resume();
        let identity = resume.partitions[&0].identity.clone().unwrap();
        let last = format!("last=29@{}", BEFORE + 29);
        assert!(identity.contains(&last), "{identity}");

        // It has more records than were read, and the epoch is 0 again.
        let anew = cluster_without_ids();
        send_at(&anew, 0..40, BEFORE + 60_000);
        let strict = options(&anew, client);
        let mut source = opened(&strict, &resume);
        let end = take_until(source.as_mut(), &mut SourceOutput::default(), |t| {
            t.caught_up
        });
        let error = end.unwrap_err();
        assert!(
            matches!(error, SourceError::HistoryCut { read: 30, .. }),
            "{client:?}: {error}"
        );
        drop(source);
        let lenient = KafkaOptions {
            on_missing_offsets: MissingOffsets::Earliest,
            ..strict.clone()
        };
        let mut source = opened(&lenient, &resume);
        let mut rest = SourceOutput::default();
        take_until(source.as_mut(), &mut rest, |t| t.caught_up).unwrap();
        assert_eq!(source.replaced(), 1);
        let offsets = rest.records[&0].iter().map(|(offset, ..)| *offset);
        assert_eq!(offsets.collect::<Vec<_>>(), (30..70).collect::<Vec<_>>());
        drop(source);

        // That is known the next time, and one in which all was sent again is as good as the first.
        let mut source = opened(&strict, &rest.resume());
        take_until(source.as_mut(), &mut SourceOutput::default(), |t| {
            t.caught_up
        })
        .unwrap();
        drop(source);
        let again = cluster_without_ids();
        send_at(&again, 0..35, BEFORE);
        let mut source = opened(&options(&again, client), &resume);
        let mut rest = SourceOutput::default();
        take_until(source.as_mut(), &mut rest, |t| t.caught_up).unwrap();
        assert_eq!(rest.texts(0), ["30", "31", "32", "33", "34"]);
        assert_eq!(source.replaced(), 0);
    }
}

/// A time, in milliseconds since the Unix epoch.
const BEFORE: i64 = 1_764_000_000_000;

/// Sends values, each a millisecond after the one before it.
fn send_at(cluster: &Cluster, values: std::ops::Range<i32>, millis: i64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .unwrap();
    for value in values {
        let text = value.to_string();
        let record = BaseRecord::<(), str>::to("orders").partition(0);
        let record = record.payload(&text).timestamp(millis + i64::from(value));
        producer.send(record).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// Goes on in a topic without an id of which thirty records were read, and which is recognised by
/// `identity`; `happen` makes what the brokers have now.
fn go_on(
    options: KafkaOptions,
    identity: &str,
    happen: fn(&Cluster),
) -> Result<Vec<String>, SourceError> {
    let cluster = cluster_without_ids();
    happen(&cluster);
    let options = KafkaOptions {
        brokers: cluster.bootstrap_servers(),
        topic: "orders".to_owned(),
        group: "tidegate".to_owned(),
        ..options
    };
    let partition = ResumePartition {
        name: "orders/0".to_owned(),
        lane: 0,
        offset: 30,
        identity: Some(identity.to_owned()),
    };
    let resume = Resume {
        partitions: [(0, partition)].into(),
    };
    let mut source = opened(&options, &resume);
    let mut rest = SourceOutput::default();
    take_until(source.as_mut(), &mut rest, |t| t.caught_up)?;
    let offsets = rest.records[&0].iter().map(|(offset, ..)| *offset);
    assert!(offsets.eq(30..30 + rest.texts(0).len() as i64));
    Ok(rest.texts(0))
}

/// The leader has taken twenty records, from a time on. It is followed by another one, which takes
/// twenty more.
fn two_leaders(cluster: &Cluster, first: i64, then: i64) {
    send_at(cluster, 0..20, first);
    cluster.partition_leader("orders", 0, Some(1)).unwrap();
    send_at(cluster, 100..120, then);
}

#[test]
fn where_the_history_of_a_topic_without_an_id_parts_is_asked_of_epochs_first_and_then_of_times() {
    const LATER: i64 = BEFORE + 60_000;
    // An unclean election: the record at the last offset is another one.
    let unclean: fn(&Cluster) = |cluster| two_leaders(cluster, BEFORE, LATER);
    // The other record has the time of the one that was read.
    let alike: fn(&Cluster) = |cluster| two_leaders(cluster, BEFORE, BEFORE - 80);
    // The topic was made anew, and its first epoch ended before what was read of the old one.
    let remade: fn(&Cluster) = |cluster| two_leaders(cluster, LATER, LATER);
    // The topic was made anew, and has had one leader.
    let longer: fn(&Cluster) = |cluster| send_at(cluster, 0..40, LATER);
    let last = format!("last=29@{}", BEFORE + 29);
    let both = format!("epoch=0;{last}");
    let (epoch, last, both) = ("epoch=0", last.as_str(), both.as_str());
    let cut: Vec<i32> = (100..120).collect();
    let all: Vec<i32> = (0..20).chain(100..120).collect();
    let (anew, rest): (Vec<i32>, Vec<i32>) = ((0..40).collect(), (30..40).collect());
    let cases = [
        ("epoch: cut, time: other", both, unclean, &cut),
        ("epoch: cut, time: the same", both, alike, &cut),
        ("epoch: cut, time: not known", epoch, unclean, &cut),
        ("epoch: cut, time: all is later", both, remade, &all),
        // What was read may come again, and nothing is passed over.
        ("epoch: not known, time: other", last, unclean, &all),
        ("epoch: all there, time: other", both, longer, &anew),
        ("epoch: all there, time: not known", epoch, longer, &rest),
    ];
    // Each waits for seconds until the mock has not told an id.
    #[expect(
        clippy::disallowed_methods,
        reason = "each thread waits for brokers of its own, and not for ever"
    )]
    thread::scope(|scope| {
        for client in CLIENTS {
            let options = |on_missing_offsets| KafkaOptions {
                client,
                on_missing_offsets,
                ..KafkaOptions::default()
            };
            for (name, identity, happen, values) in &cases {
                let lenient = options(MissingOffsets::Earliest);
                scope.spawn(move || {
                    let expected: Vec<String> = values.iter().map(i32::to_string).collect();
                    let texts = go_on(lenient, identity, *happen).unwrap();
                    assert_eq!(texts, expected, "{client:?}, {name}");
                });
            }
            let strict = options(MissingOffsets::Fail);
            scope.spawn(move || {
                let error = go_on(strict, both, unclean).unwrap_err();
                assert!(
                    matches!(
                        error,
                        SourceError::HistoryCut {
                            read: 30,
                            end: 20,
                            ..
                        }
                    ),
                    "{client:?}: {error}"
                );
            });
        }
    });
}

/// The same, but another history is refused.
fn options_like(options: &KafkaOptions) -> KafkaOptions {
    KafkaOptions {
        on_missing_offsets: MissingOffsets::Fail,
        ..options.clone()
    }
}

/// An address behind which another cluster may be after a while.
struct Forward {
    address: SocketAddr,
    to: Arc<Mutex<String>>,
}

impl Forward {
    fn to(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let to = Arc::new(Mutex::new(cluster.bootstrap_servers()));
        let target = Arc::clone(&to);
        thread::spawn(move || {
            for from in listener.incoming() {
                let (from, target) = (from.unwrap(), target.lock().unwrap().clone());
                // Nobody may be there just now.
                let Ok(to) = TcpStream::connect(target) else {
                    continue;
                };
                copy(from.try_clone().unwrap(), to.try_clone().unwrap());
                copy(to, from);
            }
        });
        Forward { address, to }
    }

    fn switch_to(&self, cluster: &Cluster) {
        *self.to.lock().unwrap() = cluster.bootstrap_servers();
    }
}

/// Hands on what comes, until either end is closed.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        let mut pass = || -> io::Result<()> {
            loop {
                match from.read(&mut bytes)? {
                    0 => return Ok(()),
                    read => to.write_all(&bytes[..read])?,
                }
            }
        };
        let _ = pass();
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

/// A cluster as those before Kafka 2.8: topics have no ids.
fn cluster_without_ids() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster
        .apiversion(RDKafkaApiKey::Metadata, Some(0), Some(9))
        .unwrap();
    cluster.create_topic("orders", 1, 1).unwrap();
    cluster
}

#[test]
fn an_unclean_election_while_librdkafka_reads_is_noticed_by_the_epoch_alone() {
    for lenient in [false, true] {
        let before = cluster_without_ids();
        send(&before, 0..30);
        // The leader that takes over has the first twenty only, and has taken others since.
        let after = cluster_without_ids();
        send(&after, 0..20);
        after.partition_leader("orders", 0, Some(1)).unwrap();
        send(&after, 100..125);

        let forward = Forward::to(&before);
        let options = KafkaOptions {
            brokers: forward.address.to_string(),
            on_missing_offsets: if lenient {
                MissingOffsets::Earliest
            } else {
                MissingOffsets::Fail
            },
            ..options(&before, KafkaClient::Librdkafka)
        };
        let mut source = opened(&options, &Resume::default());
        let mut taken = SourceOutput::default();
        take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
        assert_eq!(taken.texts(0).len(), 30);
        let identity = &taken.identities[&0];
        assert!(identity.starts_with("epoch=0;last=29@"), "{identity}");
        forward.switch_to(&after);
        drop(before);
        let end = take_until(source.as_mut(), &mut taken, |t| t.records[&0].len() == 55);
        if lenient {
            end.unwrap();
            let values = (0..30).chain(100..125).map(|value| value.to_string());
            assert_eq!(taken.texts(0), values.collect::<Vec<_>>());
            let offsets = taken.records[&0].iter().map(|(offset, ..)| *offset);
            assert_eq!(offsets.collect::<Vec<_>>(), (0..55).collect::<Vec<_>>());
            assert_eq!(source.replaced(), 1);
        } else {
            let error = end.unwrap_err();
            let is_cut = matches!(
                error,
                SourceError::HistoryCut {
                    end: 20,
                    read: 30,
                    ..
                }
            );
            assert!(is_cut, "{error}");
        }
    }
}
