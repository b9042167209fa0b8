//! The configuration: one TOML file, `--set` overrides and environment references in, checked
//! options out, or everything that is wrong at once.
//!
//! [`load`] does the only IO, reading the file; [`read`] is pure. The steps are: text to a tree
//! that knows its places ([`tree`]), overrides ([`overrides`]), environment ([`environment`]),
//! typed options ([`reader`]), and planning of the SQL.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod brokers;
pub mod diagnostics;
pub mod environment;
pub mod http;
pub mod job;
pub mod locate;
pub mod options;
pub mod overrides;
pub mod reader;
pub mod serve;
pub mod show;
pub mod source;
pub mod storage;
pub mod time;
pub mod tree;
pub mod units;
pub mod warehouse;

use diagnostics::{Diagnostic, Severity, SourceMap};
use options::{Config, WarehouseConfig};
use reader::{ConfigContext, Section};
use tidegate_core::advice::advice;
use tidegate_core::plan::Plan;
use tidegate_engine::{BatchOptions, LoadOptions, SourceOptions, WarehouseKind, check_tables};
use tidegate_warehouse::LoaderOptions;
use tree::Table;

/// A configuration that can be used.
#[derive(Debug)]
pub struct LoadedConfig {
    /// What it says.
    pub config: Config,
    /// The file with `--set` applied, for showing.
    pub tree: Table,
    /// Warnings, written for people; empty if there are none.
    pub warnings: String,
    /// What both refer to.
    map: SourceMap,
}

impl LoadedConfig {
    /// What is wrong with it by what it names, which reading the file alone does not show.
    pub fn refuse(&self, errors: &[Diagnostic]) -> ConfigError {
        invalid(&self.map, errors)
    }
}

/// What a configuration is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its events are computed, so its expressions are tried on made-up ones.
    Events,
    /// Its tables are filled with what another process has computed.
    Tables,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was read, and is wrong.
    #[error("{rendered}{count} error{} in {file}", if *count == 1 { "" } else { "s" })]
    Invalid {
        /// Everything that is wrong, written for people.
        rendered: String,
        /// Number of errors.
        count: usize,
        /// Name of the file.
        file: String,
    },
}

/// Loads a file with the arguments of `--set` and this process's environment.
///
/// # Errors
/// The file cannot be read, or what it says is wrong.
pub fn load(path: &Path, sets: &[String]) -> Result<LoadedConfig, ConfigError> {
    load_for(Purpose::Events, path, sets)
}

/// As [`load`], for some purpose.
///
/// # Errors
/// As [`load`].
pub fn load_for(
    purpose: Purpose,
    path: &Path,
    sets: &[String],
) -> Result<LoadedConfig, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Io {
        path: path.to_owned(),
        source,
    })?;
    let file = path.display().to_string();
    read_for(purpose, &file, text, sets, &|name| std::env::var(name).ok())
}

/// Reads the text of a file. `environment` looks up the variables that it refers to.
///
/// # Errors
/// What it says is wrong.
pub fn read(
    file: &str,
    text: String,
    sets: &[String],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<LoadedConfig, ConfigError> {
    read_for(Purpose::Events, file, text, sets, environment)
}

fn read_for(
    purpose: Purpose,
    file: &str,
    text: String,
    sets: &[String],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<LoadedConfig, ConfigError> {
    let (mut tree, mut diagnostics) = tree::parse(&text);
    let map = SourceMap {
        file: file.to_owned(),
        text,
        sets: sets.to_vec(),
    };
    if !diagnostics.is_empty() {
        // What follows a syntax error would be noise.
        return Err(invalid(&map, &diagnostics));
    }
    diagnostics.extend(overrides::apply(&mut tree, sets));
    diagnostics.extend(environment::resolve(&mut tree, environment));

    let context = ConfigContext::new(sets);
    let config = read_root(&Section::root(&context, &tree));
    diagnostics.extend(context.into_diagnostics());

    if let Some(config) = config.as_ref().filter(|_| count_errors(&diagnostics) == 0) {
        let plan = match purpose {
            Purpose::Events => Plan::compile(&config.spec),
            Purpose::Tables => Plan::compile_untried(&config.spec),
        };
        match plan {
            Ok(plan) => {
                let context = ConfigContext::new(sets);
                let root = Section::root(&context, &tree);
                if let Some(warehouse) = &config.warehouse {
                    warehouse::layout_columns(&root, warehouse, &plan, &config.upsert_key);
                    warehouse::redshift_columns(&root, warehouse, &plan);
                }
                if let Some(ingest) = &config.http_ingest {
                    http::key_column(&root, &ingest.key, &plan);
                }
                diagnostics.extend(context.into_diagnostics());
                // What is wrong with a name has been said already, with its place.
                if count_errors(&diagnostics) == 0 {
                    diagnostics.extend(tables(&tree, config, &plan));
                }
                let advice = advice(&config.spec, &plan, &config.upsert_key);
                diagnostics.extend(advice.into_iter().map(|warning| {
                    let origin = locate::locate(&tree, &warning.path);
                    Diagnostic::warning(
                        origin,
                        format!("`{}`: {}", warning.path.join("."), warning.message),
                    )
                }));
            }
            Err(errors) => diagnostics.extend(errors.into_iter().map(|error| {
                let origin = locate::locate(&tree, &error.path);
                Diagnostic::error(
                    origin,
                    format!("`{}`: {}", error.path.join("."), error.message),
                )
            })),
        }
    }
    match config {
        Some(config) if count_errors(&diagnostics) == 0 => Ok(LoadedConfig {
            config,
            tree,
            warnings: map.render(&diagnostics),
            map,
        }),
        _ => Err(invalid(&map, &diagnostics)),
    }
}

/// What a warehouse would refuse when it is opened.
fn tables(tree: &Table, config: &Config, plan: &Plan) -> Option<Diagnostic> {
    let error = check_tables(config.warehouse_options().as_ref(), plan).err()?;
    let windows = config.spec.windows.iter();
    let mut windows = windows.map(|window| window.name.as_str());
    let table = error.table.as_str();
    let view = table.strip_suffix("__parts").unwrap_or(table);
    let path = match windows.position(|name| name == table || name == view) {
        Some(place) => vec!["windows".to_owned(), place.to_string()],
        None if error.message.contains("key") => vec!["upsert".to_owned(), "key".to_owned()],
        None => vec!["warehouse".to_owned()],
    };
    Some(Diagnostic::error(
        locate::locate(tree, &path),
        error.to_string(),
    ))
}

fn count_errors(diagnostics: &[Diagnostic]) -> usize {
    diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .count()
}

fn invalid(map: &SourceMap, diagnostics: &[Diagnostic]) -> ConfigError {
    ConfigError::Invalid {
        rendered: map.render(diagnostics),
        count: count_errors(diagnostics),
        file: map.file.clone(),
    }
}

fn read_root(root: &Section<'_>) -> Option<Config> {
    version(root);
    let name = name(root);
    let source = source::read(&root.section("source"), &name);
    let storage = storage::read(&root.section("storage"));
    let (mut spec, lookups) = job::read(root);
    let warehouse = warehouse::read(root, &name);
    if let Some(warehouse) = &warehouse {
        let windows: Vec<&str> = spec.windows.iter().map(|w| w.name.as_str()).collect();
        warehouse::table_names(root, warehouse, &windows);
        warehouse::window_count(root, warehouse, windows.len());
        warehouse::storage(root, warehouse, &storage.url);
    }
    let upsert = root.section("upsert");
    let upsert_key = upsert.strings("key").unwrap_or_default();
    upsert.finish();
    if let Some(warehouse) = &warehouse {
        spec.stored = warehouse.kind.stored_form();
    }
    let mut source = source;
    if let Some(SourceOptions::Generator(options)) = &mut source {
        // It makes late events and repeats that fit the watermark.
        options.delay = spec.event_time.delay;
    }
    let http = http::read(&root.section("http"), source.as_ref(), &spec.windows);
    let (load, load_listen) = load_options(
        &root.section("load"),
        warehouse.as_ref(),
        http.guard.tokens.is_empty(),
    );
    let config = Config {
        name,
        source: source?,
        storage,
        warehouse,
        batch: batch(&root.section("batch")),
        load,
        load_listen,
        memory_in_flight: memory(&root.section("memory")),
        threads: engine(&root.section("engine")),
        http_listen: http.listen,
        ready_after: http.ready_after,
        contract: serve::contract(&root.section("contract")),
        quality: serve::quality(&root.section("quality")),
        http_guard: http.guard,
        http_ingest: http.ingest,
        charts: http.charts,
        hot: serve::hot(&root.section("hot")),
        lookups,
        spec,
        upsert_key,
    };
    root.finish();
    Some(config)
}

fn version(root: &Section<'_>) {
    match root.integer("version", 1, i64::MAX) {
        Some(1) => {}
        Some(newer) => {
            if let Some(entry) = root.entry("version") {
                let diagnostic = root.refuse(
                    entry,
                    format!("this program reads version 1, and the file is of version {newer}"),
                );
                root.context()
                    .report(diagnostic.hint("use a newer tidegate"));
            }
        }
        None if root.entry("version").is_none() => {
            root.missing("version", "begin the file with version = 1");
        }
        None => {}
    }
}

/// The job's name is in file names, table names and consumer groups.
fn name(root: &Section<'_>) -> String {
    let name = root.required_string("name", "name the job: name = \"transactions\"");
    let fits = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        && name.len() <= 100;
    if !fits && let Some(entry) = root.entry("name") {
        let message =
            format!("`{name}` has to be of letters, digits, `_` and `-`, at most 100 of them");
        root.context().report(root.refuse(entry, message));
    }
    name
}

fn batch(section: &Section<'_>) -> BatchOptions {
    let defaults = BatchOptions::default();
    let options = BatchOptions {
        interval: section
            .duration("interval", Duration::from_millis(10))
            .unwrap_or(defaults.interval),
        max_rows: section.count("max-rows", 1).unwrap_or(defaults.max_rows),
        max_bytes: section
            .size("max-bytes", 64 << 10)
            .unwrap_or(defaults.max_bytes),
    };
    section.finish();
    options
}

/// How often is loaded where the configuration does not say: into DuckDB at once; into Redshift as
/// rarely as the contract's five minutes allow, since a Serverless workgroup is paid for while it
/// is awake.
fn load_interval(warehouse: Option<&WarehouseConfig>) -> Duration {
    match warehouse.map(|warehouse| &warehouse.kind) {
        Some(WarehouseKind::Redshift(_)) => Duration::from_secs(120),
        _ => LoadOptions::default().interval,
    }
}

fn load_options(
    section: &Section<'_>,
    warehouse: Option<&WarehouseConfig>,
    nobody_needs_a_token: bool,
) -> (LoadOptions, Option<SocketAddr>) {
    let second = Duration::from_secs(1);
    let defaults = LoaderOptions::default();
    let options = LoadOptions {
        interval: section
            .duration("interval", Duration::from_millis(10))
            .unwrap_or_else(|| load_interval(warehouse)),
        loader: LoaderOptions {
            rows_max: section
                .count("max-rows", 1)
                .map_or(defaults.rows_max, |n| n as u64),
            analyze_every: section
                .duration("analyze-every", second)
                .unwrap_or(defaults.analyze_every),
            checkpoint_every: section
                .duration("checkpoint-every", second)
                .unwrap_or(defaults.checkpoint_every),
            vacuum_every: section
                .duration("vacuum-every", second)
                .unwrap_or(defaults.vacuum_every),
            ..defaults
        },
        separate: section.boolean("separate").unwrap_or(false),
    };
    let listen = http::listen(section, nobody_needs_a_token);
    section.finish();
    (options, listen)
}

fn memory(section: &Section<'_>) -> usize {
    let in_flight = section.size("in-flight", 16 << 20).unwrap_or(256 << 20);
    section.finish();
    in_flight
}

fn engine(section: &Section<'_>) -> usize {
    let threads = section
        .integer("threads", 0, 1024)
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(0);
    section.finish();
    threads
}
