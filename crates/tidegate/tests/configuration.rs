//! What `validate` says about good and about broken files. Each file of `tests/configs` is read,
//! and what comes out is compared with the snapshot of its name.

use std::path::Path;

use tidegate::config::{ConfigError, LoadedConfig, read};

fn environment(name: &str) -> Option<String> {
    (name == "TIDEGATE_TEST_USER").then(|| "ada".to_owned())
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name);
    std::fs::read_to_string(path).expect("the example is there")
}

fn read_text(text: String, sets: &[&str]) -> Result<LoadedConfig, ConfigError> {
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    read("tidegate.toml", text, &sets, &environment)
}

fn outcome(result: Result<LoadedConfig, ConfigError>) -> String {
    match result {
        Ok(loaded) => format!("valid\n{}", loaded.warnings),
        Err(error) => error.to_string(),
    }
}

#[test]
fn broken_files_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        // The first lines of a file can hold arguments: `# --set a.b=c`.
        let sets: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix("# --set "))
            .collect();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        insta::assert_snapshot!(name, outcome(read_text(text.clone(), &sets)));
    }
}

#[test]
fn the_examples_are_valid() {
    for name in ["transactions.toml", "sensors.toml"] {
        assert_eq!(outcome(read_text(example(name), &[])), "valid\n", "{name}");
    }
}

#[test]
fn an_example_for_kafka_reads_files_after_set() {
    let loaded = read_text(
        example("transactions.toml"),
        &[
            "source.kind=files",
            "source.path=in",
            "batch.interval=250ms",
        ],
    )
    .unwrap();
    assert!(
        matches!(&loaded.config.source, tidegate_engine::SourceOptions::Files(files) if files.path == "in")
    );
    assert_eq!(loaded.config.batch.interval.as_millis(), 250);
    assert!(
        loaded.warnings.contains("`brokers`, `topic`"),
        "{}",
        loaded.warnings
    );
}

#[test]
fn every_cut_of_an_example_is_read_without_a_panic() {
    let text = example("transactions.toml");
    for at in (0..text.len())
        .step_by(37)
        .filter(|at| text.is_char_boundary(*at))
    {
        let _ = read_text(text[..at].to_owned(), &[]);
    }
}

#[test]
fn the_configuration_in_the_readme_is_valid() {
    let readme = example("../README.md");
    let (_, after) = readme.split_once("```toml\n").unwrap();
    let (text, _) = after.split_once("```").unwrap();
    assert_eq!(outcome(read_text(text.to_owned(), &[])), "valid\n");
}

/// The set-up of docs/redshift.md, with the window of the same page.
#[test]
fn the_configuration_in_the_page_on_redshift_is_valid() {
    let page = example("../docs/redshift.md");
    let block = |begin: &str| {
        let blocks = page.split("```toml\n").skip(1);
        let mut blocks = blocks.filter_map(|after| after.split_once("```"));
        let block = blocks.find(|(block, _)| block.contains(begin)).unwrap();
        block.0.to_owned()
    };
    let set_up = block("name = \"payments\"");
    assert!(set_up.contains("varchar = { status = 16 }"), "{set_up}");
    let window = block("name = \"payments_1m\"");
    assert!(window.contains("group-by = [\"status\"]"), "{window}");
    assert_eq!(outcome(read_text(set_up.clone(), &[])), "valid\n");
    assert_eq!(outcome(read_text(set_up + &window, &[])), "valid\n");
}

const DUCKDB: &str = "url = \"duckdb:w.duckdb\"";
const REDSHIFT: &str =
    "url = \"redshift://d\"\n[redshift]\nworkgroup = \"loads\"\niam-role = \"default\"";

/// [`REDSHIFT`] with one setting more.
fn redshift_with(setting: &str) -> String {
    format!("{REDSHIFT}\n{setting}")
}

/// What is said of a job with these columns, this warehouse, and more sections.
fn said_of(schema: &str, warehouse: &str, more: &str) -> String {
    let config = format!(
        "version = 1\nname = \"job\"\n[source]\nkind = \"files\"\npath = \"in\"\n[storage]\nurl = \"s3://b/p\"\n\
         [warehouse]\n{warehouse}\n[schema]\nat = {{ type = \"timestamp\", required = true }}\n{schema}\n\
         [event-time]\nfield = \"at\"\n{more}"
    );
    outcome(read_text(config, &[]))
}

/// Each is refused, and for this reason alone.
#[track_caller]
fn refused(cases: &[(&str, &str, &str, &str)]) {
    for (schema, warehouse, more, reason) in cases {
        let said = said_of(schema, warehouse, more);
        assert!(said.contains(reason), "{schema} {more}: {said}");
        assert!(said.contains("1 error"), "{schema} {more}: {said}");
    }
}

// What the warehouse would refuse when the job starts is refused when its configuration is read.

#[test]
fn names_that_the_warehouse_does_not_take_are_refused() {
    let long = format!("{} = \"string\"", "x".repeat(128));
    let window = |name: &str, aggregates: &str| {
        format!("[[windows]]\nname = \"{name}\"\nsize = \"1m\"\n[windows.aggregates]\n{aggregates}")
    };
    let averages = window("w", "a = \"avg(n)\"\na__sum = \"sum(n)\"");
    let events = window("events", "n = \"count(*)\"");
    refused(&[
        ("\"\" = \"string\"", DUCKDB, "", "empty"),
        ("\"a\\u0000b\" = \"string\"", DUCKDB, "", "a\\0b"),
        (
            "s = \"struct<a: int64, A: int64>\"",
            DUCKDB,
            "",
            "by case alone",
        ),
        (
            "n = \"int64\"",
            DUCKDB,
            &averages,
            "need a column `a__sum` of their own",
        ),
        (
            "n = \"int64\"",
            DUCKDB,
            "[upsert]\nkey = [\"id\"]",
            "no column `id`",
        ),
        (
            "n = \"int64\"",
            "url = \"none\"",
            &events,
            "`events` is the name of two tables",
        ),
        ("ctid = \"string\"", REDSHIFT, "", "`ctid` of its own"),
        (&long, REDSHIFT, "", "128 bytes"),
    ]);
}

#[test]
fn names_that_only_other_warehouses_do_not_take_are_taken() {
    for (schema, warehouse) in [
        (
            "rowid = \"string\"\nyear = \"int64\"\n\"select\" = \"string\"\nfilename = \"string\"",
            DUCKDB,
        ),
        (
            "rowid = \"string\"\n\"a.b\" = \"string\"\ntidegate_row = \"int64\"",
            REDSHIFT,
        ),
        ("ctid = \"string\"", DUCKDB),
    ] {
        assert_eq!(said_of(schema, warehouse, ""), "valid\n", "{schema}");
    }
}

#[test]
fn settings_and_types_that_redshift_does_not_take_are_refused() {
    let with = redshift_with;
    refused(&[
        (
            "n = \"int64\"",
            "url = \"redshift://d\"\n[redshift]\nworkgroup = \"Loads\"\niam-role = \"default\"",
            "",
            "`redshift.workgroup` is not a name that AWS gives",
        ),
        (
            "n = \"int64\"",
            "url = \"redshift://d\"\n[redshift]\nworkgroup = \"loads\"\n\
             iam-role = \"arn:aws:iam::123456789012:user/ada\"",
            "",
            "`redshift.iam-role` is not the ARN of a role",
        ),
        (
            "m = \"map<string,string>\"",
            &with("dist = \"key:m\""),
            "",
            "`redshift.dist`: `m` is nested",
        ),
        (
            "m = \"map<string,string>\"",
            &with("sort-key = [\"m\"]"),
            "",
            "`redshift.sort-key`: `m` is nested",
        ),
        (
            "n = \"int64\"",
            &with("varchar = { nothing = 5 }"),
            "",
            "`redshift.varchar.nothing`: names no column of a table",
        ),
        (
            "n = \"decimal(9,2)\"",
            &with("varchar = { n = 5 }"),
            "",
            "`redshift.varchar.n`: sizes a column that is not text",
        ),
        (
            "k = { type = \"string\", required = true }",
            &with("varchar = { k = 5 }"),
            "[upsert]\nkey = [\"k\"]",
            "`redshift.varchar.k`: sizes a key",
        ),
        (
            "n = \"decimal(19,2)\"",
            REDSHIFT,
            "",
            "`n` is decimal(19,2), which Redshift stores in eight bytes",
        ),
        (
            "n = \"decimal(38,38)\"",
            REDSHIFT,
            "",
            "at most 37 digits after the point",
        ),
        (
            "n = \"int64\"",
            &with("too-long = \"widen\""),
            "",
            "`widen` is not what can be done; write reject or cut",
        ),
    ]);
}

/// What Redshift would cut off or refuse when the job starts.
#[test]
fn names_and_numbers_of_columns_that_redshift_does_not_take_are_refused() {
    let config = |place: &str, more: &str, fields: usize| {
        let fields: String = (0..fields).map(|n| format!("f{n} = \"int32\"\n")).collect();
        format!(
            "version = 1\nname = \"job\"\n[source]\nkind = \"files\"\npath = \"in\"\n[storage]\n\
             url = \"s3://b/p\"\n[warehouse]\nurl = \"redshift://{place}\"\n[redshift]\niam-role = \"default\"\n\
             {more}\n[schema]\nat = {{ type = \"timestamp\", required = true }}\n{fields}[event-time]\n\
             field = \"at\"\n"
        )
    };
    let workgroup = "workgroup = \"loads\"";
    let (fits, long) = ("x".repeat(127), "x".repeat(128));
    let user = format!("cluster = \"c\"\ndb-user = \"{long}\"");
    for (place, more, fields, said) in [
        (
            format!("{long}/s"),
            workgroup,
            1,
            "`warehouse.url`: the name `xxx",
        ),
        (
            format!("d/{long}"),
            workgroup,
            1,
            "128 bytes, and Redshift keeps 127",
        ),
        // Of letters with two bytes.
        (format!("d/{}", "é".repeat(64)), workgroup, 1, "128 bytes"),
        (
            "d/s".to_owned(),
            user.as_str(),
            1,
            "`redshift.db-user`: the name `xxx",
        ),
        (
            "d/s".to_owned(),
            workgroup,
            1_600,
            "columns, and Redshift takes 1600",
        ),
    ] {
        let outcome = outcome(read_text(config(&place, more, fields), &[]));
        assert!(outcome.contains(said), "{place} {more}: {outcome}");
        assert!(outcome.contains("1 error"), "{place} {more}: {outcome}");
    }
    for (place, fields) in [(format!("{fits}/{fits}"), 1), ("d/s".to_owned(), 1_500)] {
        let outcome = outcome(read_text(config(&place, workgroup, fields), &[]));
        assert_eq!(outcome, "valid\n", "{place}");
    }
}

#[test]
fn every_property_that_librdkafka_refuses_is_named() {
    let refused = [
        "sasl.mechansim",
        "fetch.min.bytes",
        "sasl.oauthbearer.method",
    ];
    let sets = [
        "source.properties.\"sasl.mechansim\"=PLAIN",
        "source.properties.\"fetch.min.bytes\"=many",
        "source.properties.\"sasl.oauthbearer.method\"=oidc",
        "source.properties.\"client.id\"=fine",
    ];
    let outcome = outcome(read_text(example("transactions.toml"), &sets));
    for key in refused {
        let named = format!("`source.properties.{key}`");
        assert!(outcome.contains(&named), "no {named} in: {outcome}");
    }
    assert!(outcome.contains("3 errors"), "{outcome}");
    assert!(outcome.contains("no such property"), "{outcome}");
}

#[test]
fn properties_that_librdkafka_refuses_together_are_an_error() {
    let sets = [
        "source.properties.\"security.protocol\"=ssl",
        "source.properties.\"ssl.ca.location\"=/there/is/no/such/file",
    ];
    let outcome = outcome(read_text(example("transactions.toml"), &sets));
    assert!(outcome.contains("source.properties"), "{outcome}");
    assert!(outcome.contains("1 error"), "{outcome}");
}

#[test]
fn keys_that_are_hardly_meant_are_warned_of() {
    let with = |sets: &[&str]| {
        read_text(example("transactions.toml"), sets)
            .unwrap()
            .warnings
    };
    let warnings = with(&[r#"deduplication.key=["transaction_id", "row_hash"]"#]);
    assert!(
        warnings.starts_with("warning: `deduplication.key`: ")
            && warnings.contains("PENDING, FAILED, PENDING"),
        "{warnings}"
    );
    let warnings = with(&[
        r#"enrich.content="row_hash(merchant, category)""#,
        r#"deduplication.key=["content", "event_timestamp"]"#,
    ]);
    assert!(
        warnings.starts_with("warning: `deduplication.key.0`: ") && warnings.contains("key_hash"),
        "{warnings}"
    );
}

#[test]
fn a_rule_that_is_true_for_no_event_is_warned_of() {
    for never in ["1 = 2", "false AND amount > 0", "NULL = 1"] {
        let set = format!("rules.never=\"{never}\"");
        let loaded = read_text(example("transactions.toml"), &[&set]);
        let Ok(loaded) = loaded else {
            panic!("{never}: {}", loaded.unwrap_err())
        };
        let warning = "`rules.never`: this is true for no event";
        assert!(
            loaded.warnings.contains(warning),
            "{never}: {}",
            loaded.warnings
        );
    }
    let warnings = read_text(example("transactions.toml"), &["rules.ever=\"1 = 1\""])
        .unwrap()
        .warnings;
    assert!(!warnings.contains("no event"), "{warnings}");
}

#[test]
fn what_a_run_would_refuse_is_refused() {
    for (sets, says) in [
        (
            &[r#"upsert.key=["metadata"]"#][..],
            "is or contains a map and cannot be a key",
        ),
        (
            &[r#"upsert.key=["nowhere"]"#],
            "there is no column `nowhere`",
        ),
        (
            &[r#"enrich.age="event_timestamp - event_timestamp""#],
            "which the warehouse has no column for",
        ),
        (&["warehouse.table=Tidegate_ledger"], "Tidegate's own"),
        (&["warehouse.table=x__PARTS"], "Tidegate's own"),
        (
            &[r#"schema.place="struct<a: string, A: string>""#],
            "by case alone",
        ),
        (
            &[r#"enrich.never="date_trunc('fortnight', event_timestamp)""#],
            "fails for every event",
        ),
        (
            &[r#"enrich.never="from_unixtime(9999999999999)""#],
            "fails for every event: it is beyond what",
        ),
        (
            &["source.kind=files", r#"source.path="in/[""#],
            "`in/[` is not a pattern",
        ),
        (&["warehouse.url=duckdb:."], "is a folder"),
        (
            &[r#"rules.never="amount / (1 - 1) > 0 AND 1 / 0 = 1""#],
            "`1 / 0` fails for every event that gets to it",
        ),
        (
            &[r#"enrich.some="CASE WHEN status = 'FAILED' THEN 1 / 0 END""#],
            "`1 / 0` fails for every event that gets to it",
        ),
        (
            &[r#"enrich.some="coalesce(customer_id, CAST(1 / 0 AS TEXT))""#],
            "`1 / 0` fails for every event that gets to it",
        ),
        (
            &[
                r#"enrich.some="CASE WHEN amount > 5 THEN date_trunc('fortnight', event_timestamp) END""#,
            ],
            "`date_trunc('fortnight', event_timestamp)` fails for every event that gets to it",
        ),
    ] {
        let error = read_text(example("transactions.toml"), sets)
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{sets:?}: {error}");
    }
    // Without a warehouse there are tables over the files.
    let text = example("transactions.toml")
        .replace("name = \"transactions_5m\"", "name = \"Tidegate_Job\"");
    let error = read_text(text, &["warehouse.url=none"])
        .unwrap_err()
        .to_string();
    assert!(error.contains("the loader's own"), "{error}");
}

#[test]
fn brokers_that_are_not_host_and_port_are_refused() {
    let said = |brokers: &str| {
        let set = format!("source.brokers={brokers}");
        outcome(read_text(example("transactions.toml"), &[&set]))
    };
    for (brokers, says) in [
        ("foo:99999", "`foo:99999` has the port `99999`"),
        ("foo:0", "`foo:0` has the port `0`"),
        ("ok:9092,a:b", "`a:b` has the port `b`"),
        ("foo", "`foo` has no port"),
        ("::1:9092", "an IPv6 address stands in brackets"),
        ("http://foo:9092", "which is none of PLAINTEXT, SSL"),
    ] {
        let said = said(brokers);
        let place = format!("--> --set source.brokers={brokers}");
        for part in [says, "1 error", "a broker is host:port", &place] {
            assert!(said.contains(part), "{brokers}: {said}");
        }
    }
    for brokers in [
        "foo:1, bar:65535",
        "[::1]:9092",
        "SASL_SSL://foo:9092,SASL_SSL://bar:9092",
    ] {
        assert_eq!(said(brokers), "valid\n", "{brokers}");
    }
}
