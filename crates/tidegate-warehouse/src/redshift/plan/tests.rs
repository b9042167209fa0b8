//! The statements of loads, as text.

use std::time::Duration;

use arrow::datatypes::{DataType, TimeUnit};
use tidegate_log::{Counts, JobId, Span};

use super::table::REJECT_COLUMNS;
use super::*;
use crate::redshift::options::{Identity, Layout, Target, Timestamps, TooLong};
use crate::redshift::schema::typed;
use crate::table::{Reach, TableKind, TableSpec};

fn options() -> RedshiftOptions {
    RedshiftOptions {
        target: Target::Workgroup("w".to_owned()),
        identity: Identity::Iam,
        database: "dev".to_owned(),
        schema: "public".to_owned(),
        iam_role: "arn:aws:iam::123456789012:role/copy".to_owned(),
        region: None,
        endpoint: None,
        layout: Layout::default(),
        too_long: TooLong::default(),
        timestamps: Timestamps::default(),
        timeout: Duration::from_secs(1),
        keys: None,
    }
}

fn column(name: &str, ty: DataType) -> (String, DataType) {
    (name.to_owned(), ty)
}

fn tables(windows: usize) -> Vec<RedshiftTable> {
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let events = TableSpec {
        name: "t".to_owned(),
        datasets: vec!["events".to_owned()],
        columns: vec![
            column("id", DataType::Utf8),
            column("at", at.clone()),
            column("word", DataType::Utf8),
        ],
        required: vec!["id".to_owned(), "at".to_owned()],
        time: Some("at".to_owned()),
        kind: TableKind::Upsert {
            key: vec!["id".to_owned()],
            order: vec!["at".to_owned()],
            reach: Some(Reach {
                column: "at".to_owned(),
                within: Duration::from_secs(60),
            }),
        },
    };
    let rejected = TableSpec {
        name: "r".to_owned(),
        datasets: vec!["rejected".to_owned()],
        columns: REJECT_COLUMNS
            .iter()
            .map(|name| match *name {
                "rejected_at" => column(name, at.clone()),
                _ => column(name, DataType::Utf8),
            })
            .collect(),
        required: REJECT_COLUMNS.map(str::to_owned).into(),
        time: Some("rejected_at".to_owned()),
        kind: TableKind::Append,
    };
    let window = |n: usize| {
        let columns = vec![
            column("window_start", at.clone()),
            column("window_end", at.clone()),
            column("lane", DataType::Int32),
        ];
        let dataset = format!("window:w{n}");
        TableSpec::window_parts(
            &format!("w{n}"),
            vec![dataset],
            columns,
            Vec::new(),
            Vec::new(),
        )
    };
    let specs = [events, rejected]
        .into_iter()
        .chain((0..windows).map(window));
    specs
        .map(|spec| typed(spec).unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

fn entry(dataset: &str) -> FileEntry {
    FileEntry {
        dataset: dataset.to_owned(),
        path: format!("data/{dataset}.parquet"),
        rows: 5,
        bytes: 99,
        crc32c: 0,
        event_time: Some((0, 1_000_000)),
        lanes: Vec::new(),
    }
}

/// A file with columns of text.
fn source<'a>(entry: &'a FileEntry, columns: &[&str]) -> SourceFile<'a> {
    SourceFile {
        seq: 8,
        entry,
        columns: Arc::new(FileColumns {
            names: columns.iter().map(|column| (*column).to_owned()).collect(),
            types: vec![Some(Type::Text); columns.len()],
        }),
        longest_texts: Vec::new(),
    }
}

/// A load of a file for each table, and of one of events from before a column was added.
fn plan(windows: usize) -> Result<LoadPlan, LoadFault> {
    plan_of(&tables(windows), &options())
}

fn plan_of(tables: &[RedshiftTable], options: &RedshiftOptions) -> Result<LoadPlan, LoadFault> {
    let datasets = tables.iter().flat_map(|table| table.spec.datasets.clone());
    let files: Vec<FileEntry> = datasets.map(|dataset| entry(&dataset)).collect();
    let record = Record {
        version: 2,
        seq: 8,
        job: JobId("j".to_owned()),
        writer: String::new(),
        written_at: 0,
        prev_crc32c: 0,
        schema_version: 1,
        partitions: vec![Span {
            id: 0,
            lane: 3,
            name: String::new(),
            from: 0,
            to: 0,
            gone: 0,
            identity: None,
        }],
        watermarks: BTreeMap::from([(0, 5_000_000)]),
        idle: BTreeMap::new(),
        plan: None,
        counts: Counts::default(),
        rejected_by: BTreeMap::new(),
        files: Vec::new(),
        complete: false,
        founding: None,
        crc32c: 0,
    };
    let old = entry("events");
    let mut sources = vec![source(&old, &["id"])];
    for (file, table) in files.iter().zip(tables) {
        let columns = table.columns.iter();
        let columns: Vec<&str> = columns.map(|(column, _)| column.as_str()).collect();
        sources.push(source(file, &columns));
    }
    Request {
        options,
        job: "j",
        tables,
        records: std::slice::from_ref(&record),
        files: sources,
        before: Ledger { seq: 7, crc32c: 1 },
        after: Ledger { seq: 8, crc32c: 2 },
        attempt: "a1",
        now: 0,
        url: &|path| format!("s3://b/{path}"),
    }
    .plan()
}

#[test]
fn as_many_windows_as_are_allowed_fit_into_one_batch() {
    let statements = |windows| plan(windows).map(|plan| plan.statements.len()).ok();
    // With files of two forms.
    assert_eq!(statements(1), Some(16));
    assert_eq!(statements(WINDOWS_MAX), Some(36));
    assert_eq!(statements(WINDOWS_MAX + 2), None);
    // Where nothing fits: a key is rejected, a word and a payload are cut.
    let narrow = |windows| {
        let mut tables = tables(windows);
        for (table, columns) in [(0, ["id", "word"]), (1, ["payload", "detail"])] {
            for column in columns {
                tables[table].widths.insert(column.to_owned(), 8);
                tables[table].stuck.insert(column.to_owned());
            }
        }
        let options = RedshiftOptions {
            too_long: TooLong::Cut,
            ..options()
        };
        plan_of(&tables, &options)
    };
    let plan = narrow(WINDOWS_MAX).unwrap_or_else(|error| panic!("{error}"));
    let roles = plan.statements.iter().map(|(role, _)| *role);
    let special = roles.filter(|role| matches!(role, Role::Cut(_) | Role::Rejected(_)));
    let special: Vec<_> = special.collect();
    assert_eq!(special, [Role::Cut(0), Role::Rejected(0)]);
    assert_eq!(plan.statements.len(), STATEMENTS_MAX);
}

#[test]
fn the_claim_is_first_and_the_ledger_checks_every_count() {
    let plan = plan(1).unwrap_or_else(|error| panic!("{error}"));
    let sql: Vec<&str> = plan
        .statements
        .iter()
        .map(|(_, sql)| sql.as_str())
        .collect();
    assert!(sql[0].starts_with("UPDATE \"public\".\"tidegate_job\" SET loaded_seq = 8"));
    assert!(sql[0].ends_with("WHERE job = 'j' AND loaded_seq = 7 AND loaded_crc32c = 1"));
    assert!(sql[1].starts_with("INSERT INTO \"public\".\"tidegate_ledger\""));
    assert!(sql[1].contains("claimed_by = 'a1'"));
    let last = sql[sql.len() - 1];
    assert!(last.starts_with("UPDATE \"public\".\"tidegate_ledger\" SET job = "));
    for check in [
        "(SELECT COUNT(*) FROM tidegate_stage_0) = 10",
        "(SELECT MIN(\"at\") FROM tidegate_stage_0) = TIMESTAMP '1970-01-01 00:00:00.000000'",
        "(SELECT MAX(\"at\") FROM tidegate_stage_0) = TIMESTAMP '1970-01-01 00:00:01.000000'",
        "(SELECT COUNT(*) FROM tidegate_stage_2) = 5",
        "(SELECT COUNT(*) FROM \"public\".\"r\" WHERE \"rejected_at\" BETWEEN TIMESTAMP '1970-01-01 00:00:00.000000' \
         AND TIMESTAMP '1970-01-01 00:00:01.000000') >= 5",
        "claimed_by = 'a1'",
    ] {
        assert!(last.contains(check), "{check} is not in {last}");
    }
    // Besides the check.
    let before = &sql[..sql.len() - 1];
    let rejected = before.iter().filter(|sql| sql.contains("\"r\""));
    assert_eq!(rejected.count(), 1, "rejects are copied as they are");
    // Columns by position: files with other columns have a COPY of their own.
    let copies: Vec<&&str> = sql
        .iter()
        .filter(|sql| sql.starts_with("COPY tidegate_stage_0"))
        .collect();
    assert!(
        copies[0].contains("(\"id\") FROM")
            && copies[1].contains("(\"id\", \"at\", \"word\") FROM")
    );
    assert!(
        plan.manifests[0]
            .json
            .contains(r#""meta":{"content_length":99}"#)
    );
}

#[test]
fn a_search_for_rows_of_the_same_key_is_bounded_by_the_reach() {
    let plan = plan(0).unwrap_or_else(|error| panic!("{error}"));
    let within =
        "BETWEEN TIMESTAMP '1969-12-31 23:59:00.000000' AND TIMESTAMP '1970-01-01 00:01:01.000000'";
    let deletes = plan
        .statements
        .iter()
        .filter(|(_, sql)| sql.contains("latest") && !sql.starts_with("INSERT"));
    assert!(deletes.clone().count() == 2 && deletes.clone().all(|(_, sql)| sql.contains(within)));
}

#[test]
fn a_staging_table_is_as_wide_as_all_of_its_files_say() {
    let entry = entry("events");
    let file = |id: Option<u32>, word: Option<u32>| SourceFile {
        longest_texts: vec![id, word],
        ..source(&entry, &["id", "Word"])
    };
    let table = &tables(0)[0];
    for (files, id, word) in [
        (vec![file(Some(0), Some(64))], 64, 64),
        (
            vec![file(Some(65), Some(9)), file(Some(9), Some(300))],
            128,
            512,
        ),
        (vec![file(Some(65_535), Some(40_000))], 65_535, 65_535),
        // One of an older version.
        (
            vec![file(Some(3), Some(3)), file(Some(3), None)],
            64,
            65_535,
        ),
        (Vec::new(), 65_535, 65_535),
    ] {
        let made = create_stage(0, table, &files.iter().collect::<Vec<_>>());
        let expected = format!(
            "CREATE TEMP TABLE tidegate_stage_0 (\"id\" VARCHAR({id}), \"at\" TIMESTAMP, \"word\" VARCHAR({word}))"
        );
        assert_eq!(made, expected);
    }
}

#[test]
fn watermarks_of_many_lanes_are_moved_by_several_statements() {
    let lanes: Vec<_> = (0..2_500).map(|lane| (lane, Some(0))).collect();
    let options = options();
    let request = Request {
        options: &options,
        job: "j",
        tables: &[],
        records: &[],
        files: Vec::new(),
        before: Ledger { seq: 7, crc32c: 1 },
        after: Ledger { seq: 8, crc32c: 2 },
        attempt: "a1",
        now: 0,
        url: &|path| path.to_owned(),
    };
    let mut plan = LoadPlan::default();
    for lanes in lanes.chunks(LANES_MAX) {
        request.move_watermarks_of(lanes, &mut plan);
    }
    assert_eq!(plan.statements.len(), 6);
    let longest = plan.statements.iter().map(|(_, sql)| sql.len()).max();
    assert!(longest.is_some_and(|bytes| bytes < STATEMENT_BYTES_MAX));
}

#[test]
fn a_column_that_no_load_has_brought_is_added_if_this_loader_cannot_have_missed_it() {
    let entry = entry("events");
    let table = &tables(0)[0];
    let files = [source(&entry, &["id", "ID", "Extra"])];
    let lacking = |written_at: i64| table.lacking(&files, &|_| written_at, 10);
    let added = lacking(10).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(added, BTreeMap::from([("extra".to_owned(), Type::Text)]));
    let error = lacking(11).map_err(|error| error.to_string());
    assert!(error.is_err_and(|error| error.contains("start it again")));
    // What another load has brought is there.
    let mut known = table.clone();
    known.beside.push(("extra".to_owned(), Type::Text));
    assert!(
        known
            .lacking(&files, &|_| 11, 10)
            .is_ok_and(|it| it.is_empty())
    );
    // Nothing tells what a nested column is.
    let nested = SourceFile {
        columns: Arc::new(FileColumns {
            names: vec!["m".to_owned()],
            types: vec![None],
        }),
        ..source(&entry, &[])
    };
    assert!(table.lacking(&[nested], &|_| 10, 10).is_err());
}

#[test]
fn a_payload_that_was_cut_twice_says_so_once() {
    let mut table = tables(0).swap_remove(1);
    table.widths.insert("payload".to_owned(), 8);
    table.stuck.insert("payload".to_owned());
    let encoding = table.rejected_value("payload_encoding", TooLong::Reject);
    assert_eq!(
        encoding,
        "CASE WHEN OCTET_LENGTH(\"payload\") > 8 AND \"payload_encoding\" NOT LIKE '%,cut' THEN \
         \"payload_encoding\" || ',cut' ELSE \"payload_encoding\" END"
    );
}
