//! Entity tags of bodies that are at hand: of the bytes and nothing else, so equal answers have equal tags, after a restart too.

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::reply::{self, Whole};

/// The tag of a body.
pub(super) fn of(body: &[u8]) -> HeaderValue {
    let hash = blake3::hash(body).to_hex();
    HeaderValue::try_from(format!("\"{}\"", &hash[..32])).expect("hex digits in quotes")
}

/// The body, JSON, with its tag, or 304 when the client has it.
pub(super) fn answer(headers: &HeaderMap, body: &Bytes, etag: &HeaderValue) -> Whole {
    typed(headers, reply::JSON, body, etag)
}

/// The same for a body of another type.
pub(super) fn typed(headers: &HeaderMap, content_type: HeaderValue, body: &Bytes, etag: &HeaderValue) -> Whole {
    let mut answer = if is_known(headers, etag) {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        reply::bytes(StatusCode::OK, content_type, body.clone())
    };
    answer.headers_mut().insert(ETAG, etag.clone());
    answer
}

/// Whether the client has what the tag is of.
pub(super) fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().any(|line| names(line.as_bytes(), etag.as_bytes()))
}

/// Whether an `If-None-Match` line names the tag, by the weak comparison that RFC 9110 asks for there. Our tags hold no
/// comma, so a list can be split at each.
pub(super) fn names(line: &[u8], etag: &[u8]) -> bool {
    line.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_names_what_it_has() {
        let tag = b"\"abc\"";
        for yes in ["\"abc\"", "W/\"abc\"", "*", "\"x\", \"abc\"", "\"x\",W/\"abc\" , \"y\""] {
            assert!(names(yes.as_bytes(), tag), "{yes}");
        }
        for no in ["", "abc", "\"ABC\"", "\"x\"", "W/abc"] {
            assert!(!names(no.as_bytes(), tag), "{no}");
        }
    }
}
