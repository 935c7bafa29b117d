//! `/sdk`: the client for a site's developers, a file of the program. Never asks the engine.

use axum::extract::State;
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

use super::routes::Outcome;
use super::{App, etag};

const SCRIPT: &[u8] = include_bytes!("sdk/plaudit.js");
const TYPES: &[u8] = include_bytes!("sdk/plaudit.d.ts");

/// `GET /sdk/plaudit.js`
pub(super) async fn script(State(_): State<App>, headers: HeaderMap) -> Outcome {
    Ok(file(&headers, SCRIPT, HeaderValue::from_static("text/javascript; charset=utf-8")))
}

/// `GET /sdk/plaudit.d.ts`
pub(super) async fn types(State(_): State<App>, headers: HeaderMap) -> Outcome {
    Ok(file(&headers, TYPES, HeaderValue::from_static("text/plain; charset=utf-8")))
}

fn file(headers: &HeaderMap, text: &'static [u8], content_type: HeaderValue) -> super::reply::Whole {
    let body = Bytes::from_static(text);
    let mut answer = etag::answer(headers, &body, &etag::of(&body));
    let headers = answer.headers_mut();
    // A 304 has none.
    if headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A page of any origin may import it: it holds nothing of anyone's.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer
}
