//! Views of Redshift that its ordinary users cannot read: no page and no message sends anybody
//! there, and the loader asks none.

use std::path::{Path, PathBuf};

/// Views that Serverless has for nobody ("You can't query STL, STV, SVCS, SVL, and some SVV", in
/// the management guide), and many of them are for superusers elsewhere.
const FAMILIES: [&str; 4] = ["stl_", "stv_", "svcs_", "svl_"];
/// Views of which the developer guide says "visible only to superusers", and catalogs of passwords
/// and samples, which are for superusers in PostgreSQL.
const VIEWS: [&str; 18] = [
    "pg_authid",
    "pg_shadow",
    "pg_statistic",
    "pg_statistic_indicator",
    "svv_alter_table_recommendations",
    "svv_datashare_consumers",
    "svv_datashare_objects",
    "svv_datashares",
    "svv_diskusage",
    "svv_identity_providers",
    "svv_interleaved_columns",
    "svv_table_info",
    "svv_vacuum_progress",
    "svv_vacuum_summary",
    "sys_analyze_history",
    "sys_connection_log",
    "sys_datashare_cross_region_usage",
    "sys_transaction_history",
];

/// The words of a text, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    let is_in_a_name = |c: char| c.is_alphanumeric() || c == '_';
    text.split(move |c| !is_in_a_name(c)).map(str::to_lowercase)
}

fn is_for_superusers(word: &str) -> bool {
    // A family's name alone is no view.
    let is_of = |family: &&str| word.len() > family.len() && word.starts_with(*family);
    FAMILIES.iter().any(is_of) || VIEWS.contains(&word)
}

/// Files below a folder whose names end so.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

#[test]
fn views_that_only_superusers_can_read_are_known_by_their_names() {
    let text = "see STL_LOAD_ERRORS, pg_catalog.stv_locks and `svv_table_info`; not sys_load_error_detail, stv_ or \
                post_stl_x";
    let found: Vec<String> = words(text).filter(|word| is_for_superusers(word)).collect();
    assert_eq!(found, ["stl_load_errors", "stv_locks", "svv_table_info"]);
}

#[test]
fn no_page_and_no_message_names_a_view_that_only_superusers_can_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut all = vec![root.join("README.md")];
    files(&root.join("docs"), ".md", &mut all);
    for package in std::fs::read_dir(root.join("crates")).unwrap() {
        files(&package.unwrap().path().join("src"), ".rs", &mut all);
    }
    let mut views = 0;
    for path in all {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in words(&text) {
            assert!(!is_for_superusers(&word), "{}: {word}", path.display());
            views += usize::from(word.starts_with("sys_") || word.starts_with("svv_"));
        }
    }
    assert!(
        views > 5,
        "{views} views of Redshift were found: the search is wrong"
    );
}
