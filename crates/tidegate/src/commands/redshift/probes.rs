//! Statements of which the loader believes what they do.

use tidegate_warehouse::redshift::{RedshiftError, Session, in_catalog};

use super::{ProbeNames, ProbeOutcome, words};
use crate::exit::Failure;

/// What is believed of a probe.
enum Believed {
    /// It runs.
    Done,
    /// Its last statement returns these rows, with blanks between the columns.
    Rows(&'static [&'static str]),
    /// It fails, and the message has this piece, in lower case.
    Refused(&'static str),
    /// The statement with this number fails, whatever is said.
    RefusedAt(usize),
}

/// Statements that run in one transaction, or one that runs alone.
struct Probe {
    name: &'static str,
    statements: Vec<String>,
    believed: Believed,
}

/// Runs all probes in order: the later ones use what the earlier ones made.
pub(super) fn run(
    session: &Session,
    names: &ProbeNames,
    each: &mut dyn FnMut(&ProbeOutcome) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let groups = [transactions(names), text(names), views(names), loads(names)];
    for probe in groups.into_iter().flatten() {
        each(&probe.ask(session))?;
    }
    Ok(())
}

/// Drops what the probes made.
pub(super) fn clean_up(session: &Session, names: &ProbeNames) {
    for view in ["_late", "_bound"] {
        drop_quietly(
            session,
            &format!("DROP VIEW IF EXISTS {}", names.table(view)),
        );
    }
    for table in ["_t", "_narrow"] {
        drop_quietly(
            session,
            &format!("DROP TABLE IF EXISTS {}", names.table(table)),
        );
    }
}

fn drop_quietly(session: &Session, sql: &str) {
    if let Err(error) = session.run(sql) {
        tracing::warn!(%error, sql, "cannot remove what the check made; remove it by hand");
    }
}

impl Probe {
    fn ask(self, session: &Session) -> ProbeOutcome {
        let found = match (&self.believed, self.statements.as_slice()) {
            (Believed::Rows(_), statements) => session.rows(statements).map(|rows| lines(&rows)),
            (_, [statement]) => session.run(statement).map(|()| "done".to_owned()),
            (_, statements) => session.transaction(statements).map(|()| "done".to_owned()),
        };
        ProbeOutcome {
            name: self.name,
            as_believed: self.believed.is(&found),
            believed: self.believed.words(),
            found: found.unwrap_or_else(|error| words(&error)),
        }
    }
}

impl Believed {
    fn is(&self, found: &Result<String, RedshiftError>) -> bool {
        match (self, found) {
            (Believed::Done, Ok(_)) => true,
            (Believed::Rows(rows), Ok(found)) => *found == rows.join("; "),
            (Believed::Refused(piece), Err(error)) => {
                matches!(error, RedshiftError::Failed { .. })
                    && error.to_string().to_lowercase().contains(piece)
            }
            (Believed::RefusedAt(index), Err(error)) => {
                matches!(error, RedshiftError::Failed { statement: Some(at), .. } if at == index)
            }
            _ => false,
        }
    }

    fn words(&self) -> String {
        match self {
            Believed::Done => "done".to_owned(),
            Believed::Rows(rows) => rows.join("; "),
            Believed::Refused(piece) => format!("refused, with words like `{piece}`"),
            Believed::RefusedAt(index) => format!("statement {index} is refused"),
        }
    }
}

/// Rows of text as one line.
pub(super) fn lines(rows: &[Vec<Option<String>>]) -> String {
    let row = |row: &Vec<Option<String>>| {
        let values = row.iter().map(|value| value.as_deref().unwrap_or("null"));
        values.collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(row).collect::<Vec<_>>().join("; ")
}

fn probe(name: &'static str, believed: Believed, statements: &[String]) -> Probe {
    Probe {
        name,
        statements: statements.to_vec(),
        believed,
    }
}

fn sql(text: &str) -> String {
    text.to_owned()
}

/// What the ledger rests on.
fn transactions(names: &ProbeNames) -> Vec<Probe> {
    let t = names.table("_t");
    vec![
        probe(
            "a table is made, distributed and sorted by Redshift",
            Believed::Done,
            &[format!(
                "CREATE TABLE IF NOT EXISTS {t} (a INTEGER NOT NULL, s VARCHAR(8), n DECIMAL(18,2)) DISTSTYLE AUTO SORTKEY AUTO"
            )],
        ),
        probe(
            "a null that a subquery gives is refused by NOT NULL, and the batch names the statement",
            Believed::RefusedAt(1),
            &[
                sql("SELECT 1"),
                format!("INSERT INTO {t} (a) SELECT (SELECT MAX(a) FROM {t} WHERE a = 1)"),
                sql("SELECT 2"),
            ],
        ),
        probe(
            "a row is inserted where it is not there, without FROM",
            Believed::Rows(&["1"]),
            &[
                format!("LOCK {t}"),
                format!(
                    "INSERT INTO {t} (a) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM {t} WHERE a = 1)"
                ),
                format!("SELECT COUNT(*) FROM {t}"),
            ],
        ),
        probe(
            "an update to null by a subquery with counts undoes the batch",
            Believed::RefusedAt(2),
            &[
                sql("CREATE TEMP TABLE check_stage (a INTEGER)"),
                sql("INSERT INTO check_stage SELECT 7"),
                format!(
                    "UPDATE {t} SET a = (SELECT MAX(a) FROM {t} WHERE a = 1 AND (SELECT COUNT(*) FROM check_stage) = 2) WHERE a = 1"
                ),
            ],
        ),
        probe(
            "an update by a subquery whose counts are right goes through",
            Believed::Rows(&["1"]),
            &[
                sql("CREATE TEMP TABLE check_stage (a INTEGER)"),
                sql("INSERT INTO check_stage SELECT 7"),
                format!(
                    "UPDATE {t} SET a = (SELECT MAX(a) FROM {t} WHERE a = 1 AND (SELECT COUNT(*) FROM check_stage) = 1 AND (SELECT MIN(a) FROM check_stage) = 7) WHERE a = 1"
                ),
                format!("SELECT a FROM {t}"),
            ],
        ),
        probe(
            "temporary tables are gone after their batch",
            Believed::Refused("does not exist"),
            &[sql("SELECT COUNT(*) FROM check_stage")],
        ),
        probe(
            "statements of 120 kB in one batch",
            Believed::Rows(&["60000"]),
            &[
                format!("SELECT LEN('{}')", "x".repeat(60_000)),
                format!("SELECT LEN('{}')", "x".repeat(60_000)),
            ],
        ),
        probe(
            "VACUUM runs by itself",
            Believed::Done,
            &[format!("VACUUM {t}")],
        ),
        probe(
            "ANALYZE runs by itself",
            Believed::Done,
            &[format!("ANALYZE {t}")],
        ),
    ]
}

/// Widths and blanks.
fn text(names: &ProbeNames) -> Vec<Probe> {
    let narrow = names.table("_narrow");
    vec![
        probe(
            "a narrow text column",
            Believed::Done,
            &[format!(
                "CREATE TABLE IF NOT EXISTS {narrow} (a INTEGER, s VARCHAR(4))"
            )],
        ),
        probe(
            "text that is too long is said as `value too long for`",
            Believed::Refused("value too long for"),
            &[format!("INSERT INTO {narrow} SELECT 1, REPEAT('x', 5)")],
        ),
        probe(
            "blanks beyond the width are cut off without a word",
            Believed::Rows(&["4"]),
            &[
                format!("INSERT INTO {narrow} SELECT 2, 'b' || REPEAT(' ', 9)"),
                format!("SELECT OCTET_LENGTH(s) FROM {narrow} WHERE a = 2"),
            ],
        ),
        probe(
            "texts that differ in blanks at the end are one group, and lengths tell them apart",
            Believed::Rows(&["1 2"]),
            &[
                sql("CREATE TEMP TABLE check_blanks (s VARCHAR(3))"),
                sql("INSERT INTO check_blanks SELECT 'a'"),
                sql("INSERT INTO check_blanks SELECT 'a '"),
                sql(
                    "SELECT (SELECT COUNT(*) FROM (SELECT s FROM check_blanks GROUP BY s) AS x), \
                     (SELECT COUNT(*) FROM (SELECT s FROM check_blanks GROUP BY s, OCTET_LENGTH(s)) AS y)",
                ),
            ],
        ),
        probe(
            "a text is cut to the bytes of its column",
            Believed::Rows(&["4 äö; 4 äöü"]),
            &[
                sql("CREATE TEMP TABLE check_cut (s VARCHAR(20))"),
                sql("INSERT INTO check_cut SELECT 'äö'"),
                sql("INSERT INTO check_cut SELECT 'äöü'"),
                sql(
                    "SELECT OCTET_LENGTH(CASE WHEN OCTET_LENGTH(LEFT(s, 2)) <= 4 THEN LEFT(s, 2) ELSE LEFT(s, 1) END), s \
                     FROM check_cut ORDER BY OCTET_LENGTH(s)",
                ),
            ],
        ),
        probe(
            "a text column is widened",
            Believed::Done,
            &[format!(
                "ALTER TABLE {narrow} ALTER COLUMN s TYPE VARCHAR(8)"
            )],
        ),
    ]
}

/// Views, and what they keep from changing.
fn views(names: &ProbeNames) -> Vec<Probe> {
    let (narrow, late, bound) = (
        names.table("_narrow"),
        names.table("_late"),
        names.table("_bound"),
    );
    vec![
        probe(
            "a late-binding view is made",
            Believed::Done,
            &[format!(
                "CREATE OR REPLACE VIEW {late} AS SELECT a FROM {narrow} WITH NO SCHEMA BINDING"
            )],
        ),
        probe(
            "a late-binding view is replaced by one with other columns",
            Believed::Done,
            &[format!(
                "CREATE OR REPLACE VIEW {late} AS SELECT s, a FROM {narrow} WITH NO SCHEMA BINDING"
            )],
        ),
        probe(
            "pg_views has the definition of a late-binding view",
            Believed::Rows(&["1"]),
            &[format!(
                "SELECT COUNT(*) FROM pg_views WHERE schemaname = {} AND viewname = {} AND LOWER(definition) LIKE '%{}%'",
                in_catalog(&names.schema),
                in_catalog(&names.name("_late")),
                names.name("_narrow"),
            )],
        ),
        probe(
            "a column below a late-binding view is widened",
            Believed::Done,
            &[format!(
                "ALTER TABLE {narrow} ALTER COLUMN s TYPE VARCHAR(16)"
            )],
        ),
        probe(
            "the late-binding view goes on",
            Believed::Rows(&["1"]),
            &[format!("SELECT COUNT(*) FROM {late}")],
        ),
        probe(
            "a view that binds its columns",
            Believed::Done,
            &[format!("CREATE VIEW {bound} AS SELECT s FROM {narrow}")],
        ),
        probe(
            "it is not replaced by one with another column",
            Believed::Refused("column"),
            &[format!(
                "CREATE OR REPLACE VIEW {bound} AS SELECT s, a FROM {narrow}"
            )],
        ),
        probe(
            "the column that it uses is not widened",
            Believed::Refused("view"),
            &[format!(
                "ALTER TABLE {narrow} ALTER COLUMN s TYPE VARCHAR(32)"
            )],
        ),
        probe(
            "a view is dropped and made again in one batch",
            Believed::Done,
            &[
                format!("DROP VIEW IF EXISTS {bound}"),
                format!("CREATE VIEW {bound} AS SELECT s, a FROM {narrow} WITH NO SCHEMA BINDING"),
            ],
        ),
    ]
}

/// The shapes of a load's statements.
fn loads(names: &ProbeNames) -> Vec<Probe> {
    let (t, bare) = (names.table("_t"), names.bare("_t"));
    vec![
        probe(
            "the latest of each key, without what the table has newer",
            Believed::Rows(&["5 y"]),
            &[
                sql("CREATE TEMP TABLE check_stage (a INTEGER, s VARCHAR(8))"),
                sql("INSERT INTO check_stage SELECT 5, 'x'"),
                sql("INSERT INTO check_stage SELECT 5, 'y'"),
                sql("INSERT INTO check_stage SELECT 1, 'w'"),
                format!("UPDATE {t} SET s = 'z' WHERE a = 1"),
                format!(
                    "CREATE TEMP TABLE check_latest AS SELECT ranked.a, ranked.s FROM (SELECT a, s, ROW_NUMBER() OVER \
                     (PARTITION BY a ORDER BY s DESC NULLS LAST) AS tidegate_row FROM check_stage) AS ranked \
                     LEFT JOIN {t} ON ranked.a = {bare}.a AND {bare}.s > ranked.s \
                     WHERE ranked.tidegate_row = 1 AND {bare}.a IS NULL"
                ),
                sql("SELECT a, s FROM check_latest"),
            ],
        ),
        probe(
            "null keys are found by null",
            Believed::Rows(&["1"]),
            &[
                sql("CREATE TEMP TABLE check_left (k VARCHAR(8), n INTEGER)"),
                sql("CREATE TEMP TABLE check_right (k VARCHAR(8), n INTEGER)"),
                sql("INSERT INTO check_left SELECT NULL, NULL"),
                sql("INSERT INTO check_right SELECT NULL, NULL"),
                sql("INSERT INTO check_right SELECT '', 0"),
                sql("SELECT COUNT(*) FROM check_left JOIN check_right ON \
                     COALESCE(check_left.k, '') = COALESCE(check_right.k, '') AND \
                     COALESCE(OCTET_LENGTH(check_left.k), -1) = COALESCE(OCTET_LENGTH(check_right.k), -1) AND \
                     COALESCE(check_left.n, 0) = COALESCE(check_right.n, 0) AND \
                     CASE WHEN check_left.n IS NULL THEN 1 ELSE 0 END = CASE WHEN check_right.n IS NULL THEN 1 ELSE 0 END"),
            ],
        ),
        probe(
            "rows are deleted by those of another table, columns named with their table",
            Believed::Rows(&["0"]),
            &[
                sql("CREATE TEMP TABLE check_gone (a INTEGER)"),
                sql("INSERT INTO check_gone SELECT 1"),
                format!("DELETE FROM {t} USING check_gone WHERE {bare}.a = check_gone.a"),
                format!("SELECT COUNT(*) FROM {t}"),
            ],
        ),
    ]
}
