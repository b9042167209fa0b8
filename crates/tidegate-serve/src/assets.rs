//! The dashboard's files, embedded in the program and compressed once at the start.

use std::collections::HashMap;
use std::io::Write as _;

use axum::body::Body;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Names below `dashboard/`, and contents.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// The page may load from this server alone, and talk to it alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file as it is answered.
#[derive(Debug)]
struct Asset {
    plain: &'static [u8],
    /// Where it is smaller.
    gzip: Option<Bytes>,
    etag: HeaderValue,
    content_type: &'static str,
}

/// All files, by their path without a slash before.
#[derive(Debug)]
pub(crate) struct Assets(HashMap<&'static str, Asset>);

impl Assets {
    /// Compresses all files.
    pub(crate) fn new() -> Self {
        Assets(
            FILES
                .iter()
                .map(|(name, plain)| (*name, Asset::new(name, plain)))
                .collect(),
        )
    }

    /// The file behind a path; none if there is none.
    pub(crate) fn get(&self, path: &str, request: &HeaderMap) -> Option<Response> {
        let name = match path.trim_start_matches('/') {
            "" => "index.html",
            name => name.strip_prefix("assets/").unwrap_or(name),
        };
        self.0.get(name).map(|asset| asset.answer(request))
    }
}

impl Asset {
    fn new(name: &str, plain: &'static [u8]) -> Self {
        let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(plain));
        Asset {
            plain,
            gzip: gzip(plain)
                .filter(|gzip| gzip.len() < plain.len())
                .map(Bytes::from),
            etag: HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\"")),
            content_type: content_type(name),
        }
    }

    fn answer(&self, request: &HeaderMap) -> Response {
        let known = request
            .get(header::IF_NONE_MATCH)
            .and_then(|tags| tags.to_str().ok())
            .unwrap_or_default();
        let is_known = known
            .split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == self.etag);
        let takes = request
            .get(header::ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let gzip = self.gzip.as_ref().filter(|_| takes_gzip(takes));
        let mut response = match (is_known, gzip) {
            (true, _) => StatusCode::NOT_MODIFIED.into_response(),
            (false, Some(gzip)) => Body::from(gzip.clone()).into_response(),
            (false, None) => Body::from(self.plain).into_response(),
        };
        let headers = response.headers_mut();
        if !is_known && gzip.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::ETAG, self.etag.clone());
        for (name, value) in [
            (header::CONTENT_TYPE, self.content_type),
            // Asked for each time, and answered with 304: a new version shows at once.
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept-encoding"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        matches!(parts.next(), Some("gzip" | "*"))
            && !parts.any(|part| matches!(part, "q=0" | "q=0.0"))
    })
}

fn gzip(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn the_page_is_there_and_is_not_sent_twice() {
        let assets = Assets::new();
        let page = assets.get("/", &HeaderMap::new()).unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(
            page.headers()[header::CONTENT_TYPE],
            "text/html; charset=utf-8"
        );
        assert!(
            page.headers()[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .contains("default-src 'none'")
        );
        assert!(page.headers().get(header::CONTENT_ENCODING).is_none());
        let etag = page.headers()[header::ETAG].to_str().unwrap();
        let again = assets
            .get("/index.html", &request(header::IF_NONE_MATCH, etag))
            .unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(assets.get("/../Cargo.toml", &HeaderMap::new()).is_none());
        assert!(assets.get("/no.js", &HeaderMap::new()).is_none());
    }

    #[test]
    fn gzip_is_for_who_takes_it() {
        assert!(takes_gzip("gzip, deflate, br"));
        assert!(takes_gzip("br;q=1.0, gzip;q=0.8"));
        assert!(!takes_gzip("gzip;q=0, br"));
        assert!(!takes_gzip(""));
    }
}
