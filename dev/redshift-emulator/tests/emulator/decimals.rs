//! How many digits a decimal can have, and where that is looked at.

use crate::dialect::check;

#[tokio::test]
async fn decimals_end_before_their_digits_do() {
    check(&[
        ("CREATE TABLE x (d DECIMAL(38,38))", "! at most 37"),
        (
            "CREATE TABLE x (d DECIMAL(38,37), e DECIMAL(19,0), f DECIMAL(19,2))",
            "ok",
        ),
        (
            "INSERT INTO x (e) VALUES (9223372036854775807), (999999999999999999)",
            "ok",
        ),
        (
            "INSERT INTO x (e) VALUES (9223372036854775808)",
            "! overflow",
        ),
        (
            "INSERT INTO x (e) VALUES (9999999999999999999)",
            "! overflow",
        ),
        ("INSERT INTO x (f) VALUES (92233720368547758.07)", "ok"),
        (
            "INSERT INTO x (f) VALUES (99999999999999999.99)",
            "! overflow",
        ),
        ("INSERT INTO x (d) VALUES (10)", "! overflow"),
    ])
    .await;
}

/// What has to be refused, before the reason.
const OVERFLOW: &str = "! Numeric data overflow (";

async fn check_all(statements: &[(String, String)]) {
    let statements: Vec<(&str, &str)> = statements
        .iter()
        .map(|(sql, wanted)| (sql.as_str(), wanted.as_str()))
        .collect();
    check(&statements).await;
}

fn pair(sql: impl Into<String>, wanted: impl Into<String>) -> (String, String) {
    (sql.into(), wanted.into())
}

#[tokio::test]
async fn a_literal_has_no_more_than_38_digits() {
    let nines = "9".repeat(38);
    let small = format!("0.{}1", "0".repeat(36));
    check_all(&[
        pair(format!("SELECT {nines}"), &nines),
        pair(format!("SELECT -00{nines}"), format!("-{nines}")),
        pair(format!("SELECT {small}"), &small),
        pair(format!("SELECT {nines}0"), OVERFLOW),
        pair(format!("SELECT {nines}.5"), OVERFLOW),
        pair(format!("SELECT 0.{nines}0"), OVERFLOW),
        pair(format!("SELECT 1 WHERE 2 < {nines}0"), OVERFLOW),
        // A float has an exponent, and is as large as a float can be.
        pair("CREATE TABLE x (f DOUBLE PRECISION)", "ok"),
        pair("INSERT INTO x VALUES (1e300)", "ok"),
        pair("SELECT COUNT(*) FROM x WHERE f > 1e299", "1"),
        pair("SELECT CAST(f AS DECIMAL(38,0)) FROM x", OVERFLOW),
    ])
    .await;
}

#[tokio::test]
async fn a_result_has_no_more_than_38_digits_and_nor_has_what_it_is_made_of() {
    let nines = "9".repeat(38);
    let parts = format!("{}.5000000000", "9".repeat(28));
    check_all(&[
        pair("CREATE TABLE x (w DECIMAL(38,0), p DECIMAL(38,10))", "ok"),
        pair(format!("INSERT INTO x VALUES ({nines}, {parts})"), "ok"),
        pair("SELECT w + 0, w - 1 + 1 FROM x", format!("{nines} {nines}")),
        pair("SELECT 2.5 * 4, 7 / 2.0 > 3, 1.5 + 2", "10.0 true 3.5"),
        pair("SELECT w + 1 FROM x", format!("{OVERFLOW}addition)")),
        pair("SELECT -1 - w FROM x", format!("{OVERFLOW}subtraction)")),
        pair("SELECT w * 10 FROM x", format!("{OVERFLOW}multiplication)")),
        pair("SELECT w / 0.001 FROM x", format!("{OVERFLOW}division)")),
        pair("SELECT (w + 1) - 1 FROM x", OVERFLOW),
        pair("SELECT COUNT(*) FROM x WHERE w + 1 > 0", OVERFLOW),
        // The scale takes of the digits.
        pair("SELECT p + p FROM x", OVERFLOW),
        pair("SELECT p * 1.0 FROM x", OVERFLOW),
        pair(
            "SELECT CAST(w AS DECIMAL(37,0)) FROM x",
            format!("{OVERFLOW}result precision)"),
        ),
        pair("SELECT POWER(w, 2) FROM x", OVERFLOW),
        // Of a view, too, which another statement reads.
        pair("CREATE VIEW v AS SELECT w + 1 AS more FROM x", "ok"),
        pair("SELECT more FROM v", OVERFLOW),
    ])
    .await;
}

#[tokio::test]
async fn a_sum_of_rows_has_no_more_than_38_digits() {
    let nines = "9".repeat(38);
    let parts = format!("{}.5000000000", "9".repeat(28));
    check_all(&[
        pair("CREATE TABLE x (w DECIMAL(38,0), p DECIMAL(38,10))", "ok"),
        pair("SELECT SUM(w) FROM x", "null"),
        pair(format!("INSERT INTO x VALUES ({nines}, {parts})"), "ok"),
        pair("SELECT SUM(w), SUM(p) FROM x", format!("{nines} {parts}")),
        pair("INSERT INTO x VALUES (1, 1), (NULL, NULL)", "ok"),
        pair("SELECT SUM(w) FROM x", OVERFLOW),
        pair("SELECT CAST(SUM(p) AS DOUBLE PRECISION) FROM x", OVERFLOW),
        pair(
            "SELECT SUM(w) OVER (ORDER BY w ROWS UNBOUNDED PRECEDING) FROM x",
            OVERFLOW,
        ),
        pair(
            "SELECT SUM(w), COUNT(*), SUM(2) FROM x WHERE w < 5",
            "1 1 2",
        ),
    ])
    .await;
}
