//! Which keys records have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_testkit::{Isolation, Kafka};

use super::{Produce, key, payloads};

/// Whether a customer is one of the busy fifth.
fn is_hot(customer: &str) -> bool {
    customer.ends_with(['0', '5'])
}

#[test]
fn one_customer_in_five_makes_four_fifths_of_the_traffic() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("skewed", 4, &[]);
    Produce::new(kafka, &[&topic])
        .with(&["--count", "60000", "--rate", "0"])
        .run();
    let records = kafka.read_all(&topic, Isolation::Committed);
    let keys: Vec<String> = records.iter().map(key).collect();
    for key in &keys {
        let number = key.strip_prefix("CUST_").unwrap();
        assert!(number.len() == 6 && number.parse::<u32>().unwrap() < 100_000);
    }
    let hot = keys.iter().filter(|key| is_hot(key)).count();
    assert!((47_000..49_000).contains(&hot), "{hot} of 60,000");
    // 48,000 records over 20,000 customers, and 12,000 over 80,000.
    let (hot, rest): (BTreeSet<_>, BTreeSet<_>) = keys.iter().partition(|key| is_hot(key));
    assert!((17_000..20_001).contains(&hot.len()), "{}", hot.len());
    assert!((10_000..12_500).contains(&rest.len()), "{}", rest.len());
}

#[test]
fn salted_keys_spread_hot_customers_and_it_says_what_that_costs() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("salted", 4, &[]);
    let produce = Produce::new(kafka, &[&topic])
        .with(&["--count", "60000", "--rate", "0", "--salt-hot-keys", "4"])
        .with(&["--malformed", "0", "--updates", "0.1"]);
    let ended = produce.start().end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("no longer in order"), "{}", ended.err);

    let mut salts: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    let mut partition_of: BTreeMap<String, i32> = BTreeMap::new();
    let mut key_of: BTreeMap<String, String> = BTreeMap::new();
    let records = kafka.read_all(&topic, Isolation::Committed);
    for record in &records {
        let key = key(record);
        let event: Value = serde_json::from_slice(record.payload.as_deref().unwrap()).unwrap();
        let customer = event["customer_id"].as_str().unwrap();
        match key.split_once(':') {
            Some((plain, salt)) => {
                assert!(plain == customer && is_hot(customer), "{key}: {event}");
                let salts = salts.entry(plain.to_owned()).or_default();
                salts.insert(salt.parse().unwrap());
            }
            None => assert!(key == customer && !is_hot(customer), "{key}: {event}"),
        }
        // Repeats and updates follow their transaction.
        let id = event["transaction_id"].as_str().unwrap().to_owned();
        assert_eq!(*key_of.entry(id).or_insert_with(|| key.clone()), key);
        let partition = *partition_of.entry(key).or_insert(record.partition);
        assert_eq!(partition, record.partition);
    }
    assert!(salts.values().flatten().all(|salt| *salt < 4));
    let spread = salts.values().filter(|salts| salts.len() > 1).count();
    assert!(spread > 5_000, "{spread} of {}", salts.len());
    // Each partition has its share all the same.
    for partition in 0..4 {
        let count = records.iter().filter(|r| r.partition == partition).count();
        assert!((13_500..16_500).contains(&count), "{partition}: {count}");
    }
}

#[test]
fn a_hot_key_makes_a_hot_partition() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("hot", 4, &[]);
    Produce::new(kafka, &[&topic])
        .with(&["--count", "20000", "--rate", "0", "--hot-key-share", "0.6"])
        .run();
    let records = kafka.read_all(&topic, Isolation::Committed);
    let mut partition_of: BTreeMap<String, i32> = BTreeMap::new();
    for record in &records {
        let partition = *partition_of.entry(key(record)).or_insert(record.partition);
        assert_eq!(partition, record.partition);
    }
    let hot = records.iter().filter(|r| key(r) == "CUST_000000").count();
    assert!((11_600..12_400).contains(&hot), "{hot} of 20,000");
    // Those, and a quarter of the rest.
    let home = partition_of["CUST_000000"];
    let there = records.iter().filter(|r| r.partition == home).count();
    assert!((13_600..14_400).contains(&there), "{there} of 20,000");
}

#[test]
fn every_topic_gets_every_event_whatever_its_partitions() {
    let Some(kafka) = Kafka::shared() else { return };
    let three = kafka.new_topic("three", 3, &[]);
    let five = kafka.new_topic("five", 5, &[]);
    let report = Produce::new(kafka, &[&three, &five])
        .with(&["--count", "5000", "--rate", "0"])
        .run();
    assert_eq!(
        (&report["events"], &report["sent"]),
        (&5000.into(), &10_000.into())
    );
    let [of_three, of_five] = [&three, &five].map(|t| kafka.read_all(t, Isolation::Committed));
    assert_eq!(payloads(&of_three), payloads(&of_five));
    for records in [of_three, of_five] {
        let mut partition_of: BTreeMap<String, i32> = BTreeMap::new();
        for record in &records {
            let partition = *partition_of.entry(key(record)).or_insert(record.partition);
            assert_eq!(partition, record.partition);
        }
    }
}
