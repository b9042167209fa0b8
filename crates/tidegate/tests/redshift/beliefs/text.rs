//! Text that does not fit into its column.

use super::*;

#[test]
fn a_long_text_is_loaded_although_views_use_its_column() {
    let Some(world) = World::new(31) else { return };
    let job = job(&world, "wide");
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    run(&job);
    world.sql("CREATE VIEW wide.report AS SELECT k, g, v FROM wide.believed");
    let long = "x".repeat(300);
    write(&job, "2.jsonl", 100, &[event(&long, &long, &long)]);
    run(&job);
    let lengths =
        "SELECT count(*) FROM believed WHERE octet_length(k) = 300 AND octet_length(g) = 300";
    assert_eq!(job.number(lengths), 1);
    assert_eq!(
        job.number("SELECT count(*) FROM by_group WHERE octet_length(g) = 300"),
        1
    );
}

#[test]
fn a_text_is_cut_where_its_column_is_sized_and_a_view_keeps_it_from_growing() {
    let Some(world) = World::new(32) else { return };
    let job = job(&world, "cut");
    edit(&job, "# widths", "varchar = { v = 8 }\ntoo-long = \"cut\"");
    write(&job, "1.jsonl", 0, &[event("a", "x", "12345678")]);
    run(&job);
    world.sql("CREATE VIEW cut.report AS SELECT v FROM cut.believed");
    write(
        &job,
        "2.jsonl",
        100,
        &[event("b", "x", "123456789"), event("c", "x", "ääääb")],
    );
    let err = run(&job);
    let values = world.sql("SELECT v FROM cut.believed ORDER BY k");
    assert_eq!(values, ["12345678", "12345678", "ääää"]);
    for piece in [
        "DROP VIEW \"cut\".\"report\";",
        "ALTER TABLE",
        "VARCHAR(65535)",
        "text was cut",
    ] {
        assert!(err.contains(piece), "{piece} is not in\n{err}");
    }
    // Without the view it grows.
    world.sql("DROP VIEW cut.report");
    write(&job, "3.jsonl", 200, &[event("d", "x", "1234567890")]);
    run(&job);
    assert_eq!(
        world.sql("SELECT v FROM cut.believed WHERE k = 'd'"),
        ["1234567890"]
    );
}

/// Makes columns of a table as narrow as an older version made them, with a view over them that
/// binds them, so that they cannot grow.
pub(crate) fn narrow(world: &World, schema: &str, table: &str, columns: &[&str]) {
    // The next start makes it again.
    world.sql(&format!("DROP VIEW IF EXISTS {schema}.by_group"));
    for column in columns {
        world.sql(&format!(
            "ALTER TABLE {schema}.{table} ALTER COLUMN {column} TYPE redshift_emulator.varchar(8)"
        ));
    }
    world.sql(&format!(
        "CREATE VIEW {schema}.{table}_report AS SELECT {} FROM {schema}.{table}",
        columns.join(", ")
    ));
}

#[test]
fn keys_that_do_not_fit_are_rejected_and_never_cut_into_one() {
    for (seed, schema, setting) in [(42, "reject", "reject"), (43, "cutting", "cut")] {
        let Some(world) = World::new(seed) else {
            return;
        };
        let job = job(&world, schema);
        let setting = format!("too-long = \"{setting}\"");
        edit(&job, "# widths", &setting);
        write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
        run(&job);
        narrow(&world, schema, "believed", &["k"]);
        let long = [
            event("12345678AAAA", "x", "y"),
            event("12345678BBBB", "x", "y"),
            event("12345678", "x", "y"),
            event("1234567      ", "x", "y"),
        ];
        write(&job, "2.jsonl", 100, &long);
        let err = run(&job);
        assert!(err.contains("rows were not loaded"), "{err}");
        let keys = world.sql(&format!("SELECT k FROM {schema}.believed ORDER BY k"));
        assert_eq!(keys, ["12345678", "a"]);
        let rejected = world.sql(&format!(
            "SELECT payload || '|' || payload_encoding || '|' || reasons || '|' || detail FROM {schema}.rejected \
             ORDER BY source_offset"
        ));
        let expected = |key: &str| {
            format!(
                "{key}|utf8,column|text.too_long|column \"k\" has {} bytes, and 8 in the table believed; the whole \
                 event is in the files of the job",
                key.len()
            )
        };
        let expected = ["12345678AAAA", "12345678BBBB", "1234567      "].map(expected);
        assert_eq!(rejected, expected);
        // The next load rejects at once, and one that fits takes the place of what was there.
        let more = [event("12345678CCCC", "x", "y"), event("a", "x", "new")];
        write(&job, "3.jsonl", 200, &more);
        run(&job);
        assert_eq!(job.number("SELECT count(*) FROM rejected"), 4);
        assert_eq!(
            job.number("SELECT count(*) FROM believed WHERE v = 'new'"),
            1
        );
        // No load failed: what the view forbids is asked for, and nothing else.
        for statement in failed(&world) {
            assert!(statement.starts_with("ALTER TABLE "), "{statement}");
        }
        job.check_ledger();
    }
}

#[test]
fn a_group_that_does_not_fit_is_left_out_and_never_merged_with_another() {
    let Some(world) = World::new(44) else { return };
    let job = job(&world, "parted");
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    run(&job);
    narrow(&world, "parted", "by_group__parts", &["g"]);
    let long = [
        event("b", "12345678AAAA", "y"),
        event("c", "12345678BBBB", "y"),
        event("d", "12345678", "y"),
    ];
    write(&job, "2.jsonl", 100, &long);
    let err = run(&job);
    assert!(err.contains("rows were not loaded"), "{err}");
    let groups = world.sql("SELECT g || ' ' || n FROM parted.by_group ORDER BY g");
    assert_eq!(groups, ["12345678 1", "x 1"]);
    assert_eq!(job.number("SELECT count(*) FROM believed"), 4);
    assert_eq!(job.number("SELECT count(*) FROM rejected"), 0);
}

#[test]
fn a_text_that_does_not_fit_is_rejected_where_nothing_says_that_it_is_cut() {
    let Some(world) = World::new(45) else { return };
    let job = job(&world, "refused");
    edit(&job, "# widths", "varchar = { v = 8 }");
    write(&job, "1.jsonl", 0, &[event("a", "x", "12345678")]);
    run(&job);
    world.sql("CREATE VIEW refused.report AS SELECT v FROM refused.believed");
    // A reject of the pipeline, in the same load.
    let events = [
        event("b", "x", "123456789"),
        event("a", "x", "123456789"),
        event("c", "x", "y"),
        "\"g\":\"no key\"".to_owned(),
    ];
    write(&job, "2.jsonl", 100, &events);
    run(&job);
    let values = world.sql("SELECT k || v FROM refused.believed ORDER BY k");
    assert_eq!(values, ["a12345678", "cy"]);
    let reasons = world.sql("SELECT reasons FROM refused.rejected ORDER BY source_offset");
    assert_eq!(
        reasons,
        ["text.too_long", "text.too_long", "decode.missing"]
    );
}
