//! `GET /openapi.json`: the interface, for programs.

use axum::http::{HeaderName, header};

const DOCUMENT: &str = include_str!("../../openapi.json");
const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

/// The OpenAPI document.
pub(crate) async fn openapi() -> ([(HeaderName, &'static str); 1], &'static str) {
    (JSON, DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::Method;
    use serde_json::Value;

    use super::*;
    use crate::guard::needed;

    /// What the router takes, by its text: a router does not say its routes.
    fn routes() -> BTreeSet<(String, String)> {
        let text = include_str!("../server.rs");
        let mut routes = BTreeSet::new();
        for route in text.split(".route(").skip(1) {
            let (path, methods) = route
                .trim_start()
                .trim_start_matches('"')
                .split_once('"')
                .unwrap();
            let methods = methods.split(".fallback(").next().unwrap();
            // A WebSocket is for any method, and is documented as the one that HTTP/1.1 has for it.
            for (called, method) in [
                ("get", "get"),
                ("any", "get"),
                ("post", "post"),
                ("delete", "delete"),
            ] {
                let is_called = |before: char| methods.contains(&format!("{before}{called}("));
                if is_called(' ') || is_called('.') {
                    routes.insert((method.to_owned(), path.to_owned()));
                }
            }
        }
        assert!(routes.len() >= 7, "{routes:?}");
        routes
    }

    fn documented() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn operations(document: &Value) -> Vec<(String, String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(|(method, operation)| (method.clone(), path.clone(), operation))
        });
        operations.collect()
    }

    #[test]
    fn every_route_is_documented_and_every_documented_one_is_there() {
        let document = documented();
        let documented: BTreeSet<_> = operations(&document)
            .into_iter()
            .map(|(method, path, _)| (method, path))
            .collect();
        assert_eq!(routes(), documented);
    }

    #[test]
    fn what_is_said_to_need_no_token_needs_none() {
        let document = documented();
        for (method, path, operation) in operations(&document) {
            let is_open = operation["security"].as_array().is_some_and(Vec::is_empty);
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            assert_eq!(is_open, needed(&method, &path).is_none(), "{method} {path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(document: &Value, value: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    map.values().for_each(|inner| check(document, inner));
                }
                Value::Array(items) => items.iter().for_each(|inner| check(document, inner)),
                _ => {}
            }
        }
        let document = documented();
        assert_eq!(document["openapi"], "3.1.0");
        check(&document, &document);
    }
}
