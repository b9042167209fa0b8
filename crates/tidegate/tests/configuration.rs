//! What `validate` says about good and about broken files. Each file of `tests/configs` is read, and
//! what comes out is compared with the snapshot of its name.

use std::path::Path;

use tidegate::config::{ConfigError, Loaded, read};

fn environment(name: &str) -> Option<String> {
    (name == "TIDEGATE_TEST_USER").then(|| "ada".to_owned())
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name);
    std::fs::read_to_string(path).expect("the example is there")
}

fn read_text(text: String, sets: &[&str]) -> Result<Loaded, ConfigError> {
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    read("tidegate.toml", text, &sets, &environment)
}

fn outcome(result: Result<Loaded, ConfigError>) -> String {
    match result {
        Ok(loaded) => format!("valid\n{}", loaded.warnings),
        Err(error) => error.to_string(),
    }
}

#[test]
fn broken_files_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        // The first lines of a file can hold arguments: `# --set a.b=c`.
        let sets: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix("# --set "))
            .collect();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        insta::assert_snapshot!(name, outcome(read_text(text.clone(), &sets)));
    }
}

#[test]
fn the_examples_are_valid() {
    for name in ["transactions.toml", "sensors.toml"] {
        assert_eq!(outcome(read_text(example(name), &[])), "valid\n", "{name}");
    }
}

#[test]
fn an_example_for_kafka_reads_files_after_set() {
    let loaded = read_text(
        example("transactions.toml"),
        &[
            "source.kind=files",
            "source.path=in",
            "batch.interval=250ms",
        ],
    )
    .unwrap();
    assert!(
        matches!(&loaded.config.source, tidegate_sources::SourceOptions::Files(files) if files.path == "in")
    );
    assert_eq!(loaded.config.batch.interval.as_millis(), 250);
    assert!(
        loaded.warnings.contains("`brokers`, `topic`"),
        "{}",
        loaded.warnings
    );
}

#[test]
fn every_cut_of_an_example_is_read_without_a_panic() {
    let text = example("transactions.toml");
    for at in (0..text.len())
        .step_by(37)
        .filter(|at| text.is_char_boundary(*at))
    {
        let _ = read_text(text[..at].to_owned(), &[]);
    }
}

#[test]
fn the_configuration_in_the_readme_is_valid() {
    let readme = example("../README.md");
    let (_, after) = readme.split_once("```toml\n").unwrap();
    let (text, _) = after.split_once("```").unwrap();
    assert_eq!(outcome(read_text(text.to_owned(), &[])), "valid\n");
}
