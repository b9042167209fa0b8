//! What blocks of a page need beside the program. Where it cannot be had, they are skipped, and the
//! test counts itself as skipped.

use std::path::Path;

use tidegate_testkit::{Kafka, Postgres, skip};

use crate::shell::Shell;

/// Whether what a page asks for is there; the shell then knows where.
///
/// - `jq`: the program;
/// - `kafka`: a broker at `$BROKERS`, with a new and empty topic `$TOPIC`;
/// - `redshift`: a PostgreSQL with a new and empty database, which `$POSTGRES` says how to reach,
///   and the programs that stand for Redshift and for S3.
pub(crate) fn get(server: &str, shell: &mut Shell) -> bool {
    match server {
        "jq" => {
            let has = Shell::has("jq");
            if !has {
                skip("jq is not here: it is in the package jq");
            }
            has
        }
        "kafka" => kafka(shell),
        "redshift" => redshift(shell),
        _ => panic!("`needs {server}`: there is no such server"),
    }
}

fn kafka(shell: &mut Shell) -> bool {
    let Some(kafka) = Kafka::shared() else {
        return false;
    };
    let (brokers, topic) = (kafka.brokers(), kafka.new_topic("page", 2, &[]));
    shell.run("Kafka", &format!("BROKERS='{brokers}' TOPIC='{topic}'"));
    true
}

fn redshift(shell: &mut Shell) -> bool {
    // Cargo builds them with all tests, and not with this one alone.
    for program in ["redshift-emulator", "examples/s3"] {
        if !Shell::built().join(program).is_file() {
            skip(&format!(
                "{program} is not built: `cargo xtask test` builds it, or `cargo build --release \
                 --bin redshift-emulator --example s3`"
            ));
            return false;
        }
    }
    let Some(postgres) = Postgres::shared() else {
        return false;
    };
    let (database, programs): (String, &Path) = (postgres.new_database(), postgres.programs());
    let script = format!(
        "export POSTGRES='{database}' PATH=\"$PATH:{}\"",
        programs.display()
    );
    shell.run("PostgreSQL", &script);
    true
}
