//! The emulator as a program.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use redshift_emulator::{Delays, Emulator, Isolation, Objects, Options, S3};
use tracing_subscriber::EnvFilter;

/// Amazon Redshift's Data API over a PostgreSQL, as strict as Redshift: for tests.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8439")]
    listen: SocketAddr,
    /// The PostgreSQL underneath, as a superuser: "host=127.0.0.1 user=postgres dbname=dev".
    #[arg(long)]
    postgres: String,
    /// The name that callers give as Database.
    #[arg(long, default_value = "dev")]
    database: String,
    /// The S3 endpoint from which COPY reads: "http://127.0.0.1:9000".
    #[arg(long)]
    s3_endpoint: String,
    /// The region of the endpoint.
    #[arg(long, default_value = "us-east-1")]
    s3_region: String,
    /// The endpoint's access key.
    #[arg(long, env = "AWS_ACCESS_KEY_ID", default_value = "test")]
    s3_access_key_id: String,
    /// The secret of the access key.
    #[arg(
        long,
        env = "AWS_SECRET_ACCESS_KEY",
        hide_env_values = true,
        default_value = "test"
    )]
    s3_secret_access_key: String,
    /// How long a statement stays in SUBMITTED, in PICKED and in STARTED, in milliseconds.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// SERIALIZABLE transactions instead of SNAPSHOT.
    #[arg(long)]
    serializable: bool,
    /// How many seconds a statement is remembered.
    #[arg(long, default_value_t = 86_400)]
    remembered_s: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let delay = Duration::from_millis(arguments.delay_ms);
    let objects = Objects::S3(S3 {
        endpoint: arguments.s3_endpoint,
        region: arguments.s3_region,
        access_key_id: arguments.s3_access_key_id,
        secret_access_key: arguments.s3_secret_access_key,
    });
    let mut options = Options::new(arguments.postgres, objects);
    options.listen = arguments.listen;
    options.database = arguments.database;
    options.delays = Delays {
        submitted: delay,
        picked: delay,
        started: delay,
    };
    options.remembered = Duration::from_secs(arguments.remembered_s);
    if arguments.serializable {
        options.isolation = Isolation::Serializable;
    }
    match Emulator::start(options).await {
        Ok(emulator) => {
            tracing::info!(url = emulator.url(), "listening");
            emulator.serve().await;
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!(%error, "not started");
            ExitCode::FAILURE
        }
    }
}
