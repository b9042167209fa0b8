//! What a process answers is what its OpenAPI document says, in each phase of its life.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value};
use tidegate_testkit::S3;

use crate::common::{Job, repository_file};
use crate::outside::{add_orders, orders};
use crate::server::Server;

/// What is wrong with a value, by a schema of the document: `at` says where it is.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, at, &mut found);
    let members = value.as_object().into_iter().flatten();
    let mut known = BTreeSet::new();
    let is_closed = members_of(document, schema, &mut known);
    for (member, _) in members.filter(|(member, _)| is_closed && !known.contains(*member)) {
        found.push(format!("{at}.{member} is not in the document"));
    }
    found
}

/// What a schema stands for.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap(),
        None => schema,
    }
}

/// Collects the names of members; gives whether there can be no others.
fn members_of(document: &Value, schema: &Value, known: &mut BTreeSet<String>) -> bool {
    let schema = resolved(document, schema);
    let properties = schema["properties"].as_object();
    known.extend(properties.into_iter().flat_map(Map::keys).cloned());
    let mut is_closed = properties.is_some() && schema["additionalProperties"].is_null();
    for several in ["allOf", "oneOf", "anyOf"] {
        for part in schema[several].as_array().into_iter().flatten() {
            is_closed |= members_of(document, part, known);
        }
    }
    is_closed
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let schema = resolved(document, schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(document, part, value, at, found);
    }
    for several in ["oneOf", "anyOf"] {
        let Some(parts) = schema[several].as_array() else {
            continue;
        };
        let tries = parts
            .iter()
            .map(|part| faults(document, part, value, at))
            .collect::<Vec<_>>();
        if tries.iter().all(|faults| !faults.is_empty()) {
            found.push(format!("{at} is none of {several}: {tries:?}"));
        }
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        ty => ty.as_str().into_iter().collect::<Vec<_>>(),
    };
    let is_of = |ty: &str| match ty {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        ty => panic!("{at} is of an unknown type {ty}"),
    };
    if !types.is_empty() && !types.iter().any(|ty| is_of(ty)) {
        found.push(format!("{at} is {value}, and not of {types:?}"));
    }
    let listed = schema["enum"].as_array();
    if listed.is_some_and(|listed| !listed.contains(value)) {
        found.push(format!("{at} is {value}, which is not listed"));
    }
    if let Some(items) = value.as_array() {
        for (index, item) in items.iter().enumerate() {
            found.extend(faults(
                document,
                &schema["items"],
                item,
                &format!("{at}[{index}]"),
            ));
        }
    }
    let Some(object) = value.as_object() else {
        return;
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(required.as_str().unwrap()) {
            found.push(format!("{at} has no {required}"));
        }
    }
    for (name, member) in object {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null | Value::Bool(_)) => {}
            (Value::Null, schema) | (schema, _) => {
                found.extend(faults(document, schema, member, &at));
            }
        }
    }
}

/// Asks for all that the document has, and compares the answers; gives the status.
fn is_as_described(server: &Server, phase: &str) -> Value {
    let document = server.get("/openapi.json");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = path.replace("{key}", "x");
            let what = format!("{phase}: {method} {path}");
            let (status, answer) = server.request(&method.to_uppercase(), &path, "{}");
            let response = &operation["responses"][status.to_string()];
            assert!(
                !response.is_null(),
                "{what}: {status} is not in the document: {answer}"
            );
            let content = &resolved(&document, response)["content"]["application/json"];
            if !content.is_null() {
                let found = faults(&document, &content["schema"], &answer, "it");
                assert!(found.is_empty(), "{what}: {status}: {found:#?} in {answer}");
            }
        }
    }
    let status = server.get("/v1/status");
    assert_eq!(status["phase"], phase);
    status
}

/// How many of the members are there that are known of a pipeline, and how many there could be.
fn of_the_pipeline(server: &Server, status: &Value) -> (usize, usize) {
    let document = server.get("/openapi.json");
    let members = &document["components"]["schemas"]["Pipeline"]["properties"];
    let members = members.as_object().unwrap();
    let status = status.as_object().unwrap();
    let known = members.keys().filter(|name| status.contains_key(*name));
    (known.count(), members.len())
}

#[test]
fn a_process_that_starts_answers_as_it_is_described() {
    let job = orders(10)
        .set("storage.url", "s3://bucket/orders")
        .set("storage.endpoint", "http://127.0.0.1:1")
        .set("storage.allow-http", true)
        .with_variables(S3::environment());
    for (command, key) in [("run", "http.listen"), ("load", "load.listen")] {
        let server = Server::start_unready(&job, command, key);
        let status = is_as_described(&server, "starting");
        assert_eq!(of_the_pipeline(&server, &status).0, 0, "{status}");
        server.until("/v1/status", |status| {
            status["storage"]["reachable"] == false
        });
        is_as_described(&server, "starting");
    }
}

#[test]
fn a_job_that_runs_answers_as_it_is_described_whether_its_storage_is_there_or_not() {
    let job = orders(10);
    let server = Server::start(&job);
    server.until_loaded(10);
    let status = is_as_described(&server, "running");
    let (known, all) = of_the_pipeline(&server, &status);
    assert!(known == all && all > 30, "{known} of {all}: {status}");
    let data = job.path("data");
    fs::rename(&data, job.path("away")).unwrap();
    fs::write(&data, "no folder").unwrap();
    add_orders(&job, "2", 10, 20);
    server.until("/v1/status", |status| {
        status["storage"]["reachable"] == false
    });
    is_as_described(&server, "running");
}

#[cfg(feature = "failpoints")]
#[test]
fn a_job_that_stops_answers_as_it_is_described() {
    // The second load takes its time, and the job waits for it.
    let job = orders(10).with_variables([("FAILPOINTS", "load.begin=1*off->sleep(8000)")]);
    let server = Server::start(&job);
    server.until_loaded(10);
    add_orders(&job, "2", 10, 20);
    server.until("/v1/status", |status| status["read"] == 20);
    server.signal(rustix::process::Signal::TERM);
    server.until("/v1/status", |status| status["phase"] == "stopping");
    let status = is_as_described(&server, "stopping");
    let (known, all) = of_the_pipeline(&server, &status);
    assert_eq!(known, all, "{status}");
}

#[test]
fn a_job_whose_source_is_away_answers_as_it_is_described() {
    let example = fs::read_to_string(repository_file("examples/transactions.toml")).unwrap();
    let job = Job::from_text(&example)
        .set("source.brokers", "127.0.0.1:1")
        .set("storage.url", "file:data")
        .set("warehouse.url", "duckdb:warehouse.duckdb");
    let server = Server::start(&job);
    server.until("/v1/status", |status| {
        status["source"]["reachable"] == false
    });
    is_as_described(&server, "running");
}

#[test]
fn a_loader_answers_what_its_document_has_and_nothing_else() {
    let job = orders(10).set("load.separate", true);
    let run = Server::start(&job);
    run.until("/v1/status", |status| status["read"] == 10);
    is_as_described(&run, "running");
    let load = Server::start_load(&job);
    load.until("/v1/status", |status| status["rows_loaded"] == 10);
    let status = is_as_described(&load, "running");
    assert_eq!(of_the_pipeline(&load, &status).0, 0, "{status}");
    let has = load.get("/openapi.json")["paths"].clone();
    let all = run.get("/openapi.json")["paths"].clone();
    for path in all.as_object().unwrap().keys() {
        let (status, _) = load.request("GET", path, "");
        assert_eq!(status == 404, has[path].is_null(), "{path}: {status}");
    }
}
