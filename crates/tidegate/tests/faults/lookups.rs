//! Files of lookups that cannot be read: each fault is explained by itself, with its place in the
//! configuration.

use std::fs;

use crate::check;
use crate::common::Job;
use crate::job::shops;

fn job() -> Job {
    let job = shops();
    job.append(
        "[[lookups]]\nname = \"tiers\"\npath = \"tiers.csv\"\non = \"shop\"\n\
         columns = { tier = { from = \"level\", type = \"int32\" } }",
    );
    job
}

/// What `validate` and `run` say of the file, and at which line of the configuration `validate`
/// says it.
#[track_caller]
fn refused(job: &Job, line: &str, what: &str, help: &str) {
    let config = fs::read_to_string(job.path("tidegate.toml")).unwrap();
    let number = config.lines().position(|text| text.starts_with(line));
    let place = format!("--> tidegate.toml:{}:", number.unwrap() + 1);
    let lookup = "lookup `tiers`: cannot use tiers.csv: ";
    let says = [lookup, &place, what, help, "1 error"];
    check(&job.output(&["validate"]), 78, &says);
    check(&job.output(&["run"]), 78, &[lookup, what, help]);
}

#[test]
fn each_fault_of_a_lookups_file_has_a_help_and_a_place() {
    let job = job();
    let (path, on, columns) = ("path = \"tiers", "on = \"shop\"", "columns = { tier");
    refused(&job, path, "No such file", "correct `path` of [[lookups]]");
    fs::create_dir(job.path("tiers.csv")).unwrap();
    refused(
        &job,
        path,
        "it is a folder",
        "correct `path` of [[lookups]]",
    );
    fs::remove_dir(job.path("tiers.csv")).unwrap();
    let header = "correct the first line of the file";
    for (text, line, what, help) in [
        ("", path, "it is empty", "write the names of the columns"),
        (
            "key,level\na,1\n",
            on,
            "it has no column `shop`; it has key, level",
            header,
        ),
        (
            "shop,tier\na,1\n",
            columns,
            "it has no column `level`; it has shop, tier",
            header,
        ),
        (
            "shop,level\na,1\nb,gold\n",
            columns,
            "column `level`: `gold` in the row with the key `b` is not of type int32",
            "correct the value in the file",
        ),
        (
            "shop,level\na,1,2\n",
            path,
            "line 2",
            "correct the line in the file",
        ),
        (
            "shop,level\na,1\na,2\n",
            path,
            "the key `a` stands twice",
            "leave one row with this key",
        ),
    ] {
        fs::write(job.path("tiers.csv"), text).unwrap();
        refused(&job, line, what, help);
    }
    fs::write(job.path("tiers.csv"), "shop,level\na,1\nb,\n").unwrap();
    check(&job.output(&["validate"]), 0, &[]);
}
