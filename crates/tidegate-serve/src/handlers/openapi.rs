//! `GET /openapi.json`: the interface, for programs. It is made from the annotations of the
//! handlers and from the types that they answer with; `openapi.json` in this crate's folder is what
//! comes of it, and a test compares both.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Json;
use utoipa::openapi::schema::{ArrayBuilder, Object, OneOfBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{self, ContentBuilder, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, PartialSchema, ToSchema};

use super::status::PipelineBody;
use super::{
    aggregates, events, health, history, ingest, job, late, live, log, metrics, query, rejected,
    status,
};
use crate::guard::ErrorBody;

/// The whole interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate",
        version = "1.0.0",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        description = "A running job: how it does, what it has, and events sent to it. All times \
                       in JSON are RFC 3339 in UTC with microseconds, except where a name says \
                       otherwise; durations are seconds as numbers, sizes are bytes. Where \
                       `[[http.tokens]]` are configured every request but those of health needs \
                       one; `docs/api.md` says more."
    ),
    servers((url = "/")),
    security(("bearer" = []), ()),
    tags(
        (name = "job", description = "What the job is and how it does."),
        (name = "ingest", description = "Events sent to it."),
        (name = "operation", description = "For supervisors and monitoring.")
    ),
    paths(
        health::alive,
        health::ready,
        metrics::metrics,
        openapi,
        job::job,
        status::status,
        ingest::events,
        history::history,
        aggregates::aggregates,
        events::events,
        rejected::rejected,
        late::late,
        log::log,
        query::query,
        live::live,
    ),
    modifiers(&CommonComponents)
)]
struct Interface;

static DOCUMENT: LazyLock<openapi::OpenApi> = LazyLock::new(Interface::openapi);

/// What a process answers that only loads.
const LOADER: [&str; 5] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/v1/status",
];

static OF_LOADER: LazyLock<openapi::OpenApi> = LazyLock::new(|| {
    let mut document = DOCUMENT.clone();
    let paths = &mut document.paths.paths;
    paths.retain(|path, _| LOADER.contains(&path.as_str()));
    document
});

/// The OpenAPI document of a process that only loads.
pub(crate) fn of_loader() -> &'static openapi::OpenApi {
    &OF_LOADER
}

/// The OpenAPI document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operation",
    summary = "This document",
    responses(
        Refusals,
        (status = 200, description = "The document.", body = Object, content_type = "application/json")
    )
)]
pub(crate) async fn openapi() -> Json<&'static openapi::OpenApi> {
    Json(&*DOCUMENT)
}

/// An answer that stands once in the document, because many requests may get it.
struct CommonResponse {
    status: &'static str,
    name: &'static str,
    description: &'static str,
    /// Whether a request may get it that does not have to say who asks.
    is_open: bool,
    /// A header that it may have, what that says, and its type.
    header: Option<(&'static str, &'static str, Type)>,
}

static REFUSALS: [CommonResponse; 6] = [
    CommonResponse {
        status: "400",
        name: "BadRequest",
        description: "The request is wrong; the message says how.",
        is_open: false,
        header: None,
    },
    CommonResponse {
        status: "401",
        name: "Unauthorized",
        description: "No token, or one that is not known.",
        is_open: false,
        header: Some(("WWW-Authenticate", "What is needed.", Type::String)),
    },
    CommonResponse {
        status: "403",
        name: "Forbidden",
        description: "The token does not have the role; or a page of another server asks.",
        is_open: true,
        header: Some(("WWW-Authenticate", "What is needed.", Type::String)),
    },
    CommonResponse {
        status: "408",
        name: "Timeout",
        description: "The request was not complete and answered in time.",
        is_open: true,
        header: None,
    },
    CommonResponse {
        status: "503",
        name: "Busy",
        description: "Too many requests are being answered, or what the answer needs is not there.",
        is_open: false,
        header: Some((
            "Retry-After",
            "After how many seconds to try again.",
            Type::Integer,
        )),
    },
    CommonResponse {
        status: "500",
        name: "InternalError",
        description: "The process, or what it reads, such as its storage, has failed; the message \
                      says how.",
        is_open: false,
        header: None,
    },
];

impl CommonResponse {
    /// A reference to it, by its status.
    fn refer(&self) -> (String, RefOr<Response>) {
        let reference = Ref::from_response_name(self.name);
        (self.status.to_owned(), reference.into())
    }

    fn response(&self) -> Response {
        let error = Ref::from_schema_name(ErrorBody::name());
        let content = ContentBuilder::new().schema(Some(error)).build();
        let mut response = ResponseBuilder::new()
            .description(self.description)
            .content("application/json", content);
        if let Some((name, description, ty)) = &self.header {
            let header = HeaderBuilder::new()
                .schema(Some(Object::with_type(ty.clone())))
                .description(Some(*description));
            response = response.header(*name, header.build());
        }
        response.build()
    }
}

/// What every request may be answered with instead that has to say who asks.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        REFUSALS.iter().map(CommonResponse::refer).collect()
    }
}

/// What every request may be answered with instead.
pub(super) struct OpenRefusals;

impl IntoResponses for OpenRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let open = REFUSALS.iter().filter(|refusal| refusal.is_open);
        open.map(CommonResponse::refer).collect()
    }
}

/// Adds what stands once: the answers that many requests may get, and how a request says who asks.
/// And it says that what is known of a pipeline is there only where one runs.
struct CommonComponents;

impl Modify for CommonComponents {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for refusal in &REFUSALS {
            let response = RefOr::T(refusal.response());
            components
                .responses
                .insert(refusal.name.to_owned(), response);
        }
        let pipeline = components.schemas.get_mut(&*PipelineBody::name());
        if let Some(RefOr::T(Schema::Object(pipeline))) = pipeline {
            pipeline.required.clear();
        }
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A token of `[[http.tokens]]`. A browser's WebSocket sends it as the subprotocol \
                 `tidegate.bearer.<base64url of the token>`.",
            ))
            .build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// One record, or an array of records; what a record has is the job's own schema.
pub(super) struct RecordsBody;

impl PartialSchema for RecordsBody {
    fn schema() -> RefOr<Schema> {
        let record = || Object::with_type(Type::Object);
        let records = ArrayBuilder::new().items(record()).min_items(Some(1));
        let body = OneOfBuilder::new().item(record()).item(records);
        Schema::OneOf(body.build()).into()
    }
}

impl ToSchema for RecordsBody {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::Method;
    use serde_json::Value;

    use super::*;
    use crate::guard::needed;

    /// What a router takes, by its text: a router does not say its routes.
    fn routes(text: &str) -> BTreeSet<(String, String)> {
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
        assert!(routes.len() >= 5, "{routes:?}");
        routes
    }

    fn documented() -> Value {
        serde_json::to_value(&*DOCUMENT).unwrap()
    }

    #[test]
    fn the_committed_document_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let document = DOCUMENT.to_pretty_json().unwrap() + "\n";
        if std::env::var_os("TIDEGATE_UPDATE").is_some() {
            std::fs::write(path, &document).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap_or_default() == document,
            "openapi.json is not what the code says; TIDEGATE_UPDATE=1 writes it anew"
        );
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
        let paths = |document: &Value| -> BTreeSet<_> {
            let operations = operations(document).into_iter();
            operations.map(|(method, path, _)| (method, path)).collect()
        };
        let running = routes(include_str!("../server.rs"));
        assert_eq!(running, paths(&documented()));
        let of_loader = serde_json::to_value(of_loader()).unwrap();
        let loading = routes(include_str!("../loading.rs"));
        assert_eq!(loading, paths(&of_loader));
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
