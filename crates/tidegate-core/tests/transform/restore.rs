//! Committed rows, read back under another configuration.

use super::*;

#[test]
fn a_chunk_without_good_records_is_prepared_all_the_same() {
    let plan = plan(&transactions());
    let mut preparer = preparer(&plan);
    for records in [vec![], vec!["{"], vec!["", "[]"]] {
        let prepared = preparer
            .prepare(&chunk(&records), NOW, &[])
            .expect("prepared");
        assert_eq!(prepared.batch.num_rows(), 0);
        assert_eq!(reasons(&prepared).len(), records.len());
        assert_eq!(Lane::new(0, &plan, None).absorb(&prepared).events, 0);
    }
}

#[test]
fn a_column_that_committed_rows_lack_leaves_out_what_depends_on_it() {
    let plan = plan(&transactions());
    let mut preparer = preparer(&plan);
    let batch = preparer
        .prepare(&chunk(&[transaction(NOW, &[])]), NOW, &[])
        .expect("prepared")
        .batch;
    let needed = batch.project(&plan.state_columns()).expect("columns");
    let whole = preparer.restore(&needed).expect("restored");
    assert!(!whole.lacks_key && whole.windows.iter().all(Option::is_some));
    for without in 0..needed.num_columns() {
        let name = needed.schema().field(without).name().clone();
        let rest: Vec<usize> = (0..needed.num_columns())
            .filter(|c| *c != without)
            .collect();
        let restored = preparer.restore(&needed.project(&rest).expect("columns"));
        match name.as_str() {
            "event_timestamp" => {
                let error = restored.expect_err("rows without a time");
                assert!(matches!(error, RestoreError::EventTime { .. }), "{error}");
            }
            "source_partition" => {
                let error = restored.expect_err("rows of nowhere");
                assert!(matches!(error, RestoreError::Missing(_)), "{error}");
            }
            _ => {
                let restored = restored.expect("restored");
                let is_key = ["transaction_id", "row_hash"].contains(&name.as_str());
                assert_eq!(restored.lacks_key, is_key, "{name}");
                assert_eq!(restored.fingerprints.is_empty(), is_key, "{name}");
                let is_in_windows = ["status", "amount"].contains(&name.as_str());
                assert_eq!(restored.windows[0].is_none(), is_in_windows, "{name}");
                assert_eq!(restored.times, whole.times);
            }
        }
    }
}

#[test]
fn a_wider_column_of_a_window_is_read_from_narrower_rows() {
    let mut spec = plain_job(&["at: timestamp", "id: string", "n: int32"]);
    spec.dedup_key = names(&["id"]);
    spec.windows = vec![window("w", SECOND, SECOND, &["n"], &["s = sum(n)"])];
    let rows = prepare(&spec, &[r#"{"at":"2026-01-01T00:00:00Z","id":"a","n":7}"#]).batch;
    spec.fields[2].ty = "int64".parse().expect("a type");
    let wider = plan(&spec);
    let restored = preparer(&wider).restore(&rows).expect("restored");
    assert!(restored.windows[0].is_some());
    // What is not wider is as if the column were new.
    spec.fields[2].ty = "float64".parse().expect("a type");
    let other = plan(&spec);
    let restored = preparer(&other).restore(&rows).expect("restored");
    assert!(restored.windows[0].is_none());
    // A key has to be what it was.
    spec.fields[1].ty = "int64".parse().expect("a type");
    let retyped = plan(&spec);
    let error = preparer(&retyped).restore(&rows).expect_err("another key");
    assert!(
        error.to_string().contains("`id` is string, and int64"),
        "{error}"
    );
}
