//! The emulator's own face over HTTP: faults and counts.
//!
//! `POST /_emulator/faults` takes a [`Rule`] or `{"random": {...}}`, `DELETE /_emulator/faults`
//! ends all, `GET /_emulator/faults` lists those to come, `GET /_emulator/stats` counts.

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::faults::{RandomFaults, Rule};
use crate::service::Service;

#[derive(Deserialize)]
struct RandomFaultsBody {
    random: RandomFaults,
}

pub(crate) fn call(service: &Service, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
    let faults = &service.faults;
    match (method.as_str(), path) {
        ("GET", "/_emulator/stats") => (200, json!(service.stats())),
        ("GET", "/_emulator/faults") => (200, json!(faults.pending())),
        ("DELETE", "/_emulator/faults") => {
            faults.clear();
            (200, json!({}))
        }
        ("POST", "/_emulator/faults") => {
            if let Ok(RandomFaultsBody { random }) = serde_json::from_slice(body) {
                faults.set_random(Some(random));
                return (200, json!({}));
            }
            match serde_json::from_slice::<Rule>(body) {
                Ok(rule) => match faults.add(rule) {
                    true => (200, json!({})),
                    false => (400, json!({"error": "too many faults"})),
                },
                Err(error) => (400, json!({"error": error.to_string()})),
            }
        }
        _ => (404, json!({"error": "no such path"})),
    }
}
