//! Blocks of pages that are neither run nor read, each with why.

/// The page, how the first line of the block begins, and the reason.
pub(crate) const NOT_RUN: &[(&str, &str, &str)] = &[
    ("README.md", "┌─", "a picture of the parts"),
    (
        "ARCHITECTURE.md",
        "source ─2─►",
        "a picture of the path of a record",
    ),
    (
        "ARCHITECTURE.md",
        "log/00000000000000000001.json",
        "a list of what is below the prefix",
    ),
    (
        "CONTRIBUTING.md",
        "TIDEGATE_UPDATE=1",
        "writes pages of this repository anew; the tests that it runs compare them",
    ),
    (
        "docs/files.md",
        "data/events/year=",
        "a list of what is below the prefix",
    ),
    (
        "docs/redshift.md",
        "initdb -D",
        "a PostgreSQL on the usual port, which may be taken; testkit starts one on a free port",
    ),
    (
        "docs/redshift.md",
        "CREATE SCHEMA finance;",
        "for the superuser of a cluster: users and grants mean nothing to the emulator",
    ),
    (
        "docs/redshift.md",
        "-- 1. Claim the place",
        "an outline with `…`: `tidegate load --dry-run` prints what runs, and crates/tidegate/tests/redshift runs it",
    ),
    (
        "docs/redshift.md",
        "ALTER TABLE \"finance\".\"payments\" ADD COLUMN",
        "needs that table and an older configuration; the error has the statements",
    ),
];
