//! The form of a request's signature: its shape is checked, what it proves is not.

use crate::errors::ApiError;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "redshift-data";

/// Checks an `Authorization` header, and that there is the date that the signature has to cover.
pub(crate) fn check(authorization: Option<&str>, date: Option<&str>) -> Result<(), ApiError> {
    let Some(authorization) = authorization else {
        return Err(ApiError::MissingAuthentication(
            "Missing Authentication Token".to_owned(),
        ));
    };
    let wrong = |what: &str| {
        ApiError::IncompleteSignature(format!("{what}. Authorization={authorization}"))
    };
    let fields = authorization
        .strip_prefix(ALGORITHM)
        .and_then(|rest| rest.strip_prefix(' '))
        .ok_or_else(|| wrong("Authorization header requires algorithm AWS4-HMAC-SHA256"))?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| wrong(&format!("Authorization header requires '{name}' parameter")))
    };

    let scope: Vec<&str> = field("Credential")?.split('/').collect();
    match scope.as_slice() {
        [key, day, region, service, "aws4_request"]
            if !key.is_empty()
                && day.len() == 8
                && day.bytes().all(|b| b.is_ascii_digit())
                && !region.is_empty() =>
        {
            if *service != SERVICE {
                return Err(wrong(&format!(
                    "Credential should be scoped to correct service: '{SERVICE}'"
                )));
            }
            if date.is_some_and(|date| !date.starts_with(day)) {
                return Err(wrong("Date in Credential scope does not match X-Amz-Date"));
            }
        }
        _ => {
            return Err(wrong(
                "Credential must have exactly 5 slash-delimited elements",
            ));
        }
    }
    let signed = field("SignedHeaders")?;
    if !signed.split(';').any(|header| header == "host") {
        return Err(wrong("'host' must be a signed header"));
    }
    let signature = field("Signature")?;
    if signature.len() != 64 || !signature.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong("Signature must be 64 hexadecimal digits"));
    }
    if date.is_none() {
        return Err(wrong(
            "Authorization header requires existence of an X-Amz-Date header",
        ));
    }
    Ok(())
}
