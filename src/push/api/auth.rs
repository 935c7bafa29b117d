//! Whether a call is signed: by the app, for this method, path, query and body, and lately.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

use super::{Call, invalid};
use crate::error::Reject;
use crate::push::sign::{Signer, is_md5};

/// How far a call's time may be from ours.
const WITHIN_S: u64 = 600;
/// Parameters of a query.
const PARAMETERS_MAX: usize = 32;
/// The one that isn't signed.
const SIGNATURE: &str = "auth_signature";

/// A query, decoded: names in lower case, each once, sorted.
#[derive(Clone, Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query.
    pub(super) fn parse(query: &str) -> Result<Self, Reject> {
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PARAMETERS_MAX {
                return Err(invalid("query", "too many parameters"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decoded(name)?.to_ascii_lowercase(), decoded(value)?));
        }
        pairs.sort();
        if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(invalid("query", "a parameter is there twice"));
        }
        Ok(Self(pairs))
    }

    /// A value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What a signature is over, behind method and path.
    fn signed(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.0.iter().filter(|(name, _)| name != SIGNATURE) {
            let and = if text.is_empty() { "" } else { "&" };
            write!(text, "{and}{name}={value}").expect("writing to a string");
        }
        text
    }
}

/// Whether the app signed the call.
pub(super) fn check(signer: &Signer, call: &Call<'_>, query: &Query, now_ms: u64) -> Result<(), Reject> {
    let given = |name| query.get(name).ok_or(Reject::InvalidSignature("the query must have all five of auth_*"));
    let (key, signature, version) = (given("auth_key")?, given(SIGNATURE)?, given("auth_version")?);
    let timestamp = given("auth_timestamp")?;
    if key != signer.key() {
        return Err(Reject::InvalidSignature("auth_key is not the app's"));
    }
    if version != "1.0" {
        return Err(Reject::InvalidSignature("auth_version must be 1.0"));
    }
    let text = format!("{}\n{}\n{}", call.method, call.path, query.signed());
    // Libraries sign the path before they escape it.
    let escaped = || percent_decode_str(call.path).decode_utf8().ok().filter(|path| *path != call.path);
    let or_unescaped = || {
        let path = escaped()?;
        Some(signer.signed(format!("{}\n{path}\n{}", call.method, query.signed()).as_bytes(), signature))
    };
    if !signer.signed(text.as_bytes(), signature) && or_unescaped() != Some(true) {
        return Err(Reject::InvalidSignature("auth_signature is not right"));
    }
    let timestamp = timestamp.parse::<u64>().map_err(|_| Reject::InvalidSignature("auth_timestamp must be seconds"))?;
    if timestamp.abs_diff(now_ms / 1000) > WITHIN_S {
        return Err(Reject::InvalidSignature("auth_timestamp is more than 600 s away"));
    }
    match query.get("body_md5") {
        Some(md5) if !is_md5(call.body, md5) => Err(Reject::InvalidSignature("body_md5 is not the body's")),
        None if !call.body.is_empty() => Err(Reject::InvalidSignature("a call with a body needs body_md5")),
        _ => Ok(()),
    }
}

/// As forms write it: a plus is a space.
fn decoded(text: &str) -> Result<String, Reject> {
    let spaced = if text.contains('+') { Cow::from(text.replace('+', " ")) } else { text.into() };
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| invalid("query", "it is not UTF-8"))?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;
    use crate::push::sign::md5;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn signer() -> Signer {
        Signer::new("key", b"secret")
    }

    /// A query that signs a call at a time, with more parameters.
    fn signed(method: &Method, path: &str, body: &[u8], at_s: u64, more: &str) -> String {
        let mut query = format!("auth_key=key&auth_timestamp={at_s}&auth_version=1.0{more}");
        if !body.is_empty() {
            write!(query, "&body_md5={}", md5(body)).unwrap();
        }
        let sorted = Query::parse(&query).unwrap().signed();
        let signature = signer().sign(format!("{method}\n{path}\n{sorted}").as_bytes());
        format!("{query}&auth_signature={signature}")
    }

    fn passes(method: &Method, path: &str, query: &str, body: &[u8]) -> bool {
        let call = Call { method, path, query, body };
        Query::parse(query).is_ok_and(|read| check(&signer(), &call, &read, NOW_MS).is_ok())
    }

    #[test]
    fn a_signed_call_passes_in_any_order_and_escaped() {
        let query = signed(&Method::POST, "/apps/1/events", b"{}", NOW_MS / 1000, "&info=a%2Cb+c&X=1");
        assert!(passes(&Method::POST, "/apps/1/events", &query, b"{}"));
        let mut turned: Vec<&str> = query.split('&').collect();
        turned.reverse();
        assert!(passes(&Method::POST, "/apps/1/events", &turned.join("&"), b"{}"));
        let upper = query.replace("auth_key", "AUTH_KEY").replace("X=1", "x=1");
        assert!(passes(&Method::POST, "/apps/1/events", &upper, b"{}"));
        let query = signed(&Method::POST, "/apps/1/users/a b/terminate_connections", b"", NOW_MS / 1000, "");
        assert!(passes(&Method::POST, "/apps/1/users/a%20b/terminate_connections", &query, b""));
    }

    #[test]
    fn any_other_call_does_not() {
        let (path, body) = ("/apps/1/events", b"{}");
        let query = signed(&Method::POST, path, body, NOW_MS / 1000, "&info=a");
        assert!(!passes(&Method::GET, path, &query, body));
        assert!(!passes(&Method::POST, "/apps/1/batch_events", &query, body));
        assert!(!passes(&Method::POST, path, &query, b"{ }"));
        assert!(!passes(&Method::POST, path, &query.replace("info=a", "info=b"), body));
        assert!(!passes(&Method::POST, path, &query.replace("auth_key=key", "auth_key=kez"), body));
        assert!(!passes(&Method::POST, path, &format!("{query}&x=1"), body));
        assert!(!passes(&Method::POST, path, &format!("{query}&info=a"), body), "twice");
        for name in ["auth_key", "auth_timestamp", "auth_version", "auth_signature", "body_md5"] {
            let without: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(name)).collect();
            assert!(!passes(&Method::POST, path, &without.join("&"), body), "{name}");
        }
    }

    #[test]
    fn a_call_is_good_for_ten_minutes() {
        let passes_at = |at_s| passes(&Method::GET, "/x", &signed(&Method::GET, "/x", b"", at_s, ""), b"");
        assert!(passes_at(NOW_MS / 1000 - 600) && passes_at(NOW_MS / 1000 + 600));
        assert!(!passes_at(NOW_MS / 1000 - 601) && !passes_at(NOW_MS / 1000 + 601));
        assert!(!passes_at(0) && !passes_at(u64::MAX));
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic_and_none_passes_unsigned(query: String, body: Vec<u8>) {
            prop_assert!(!passes(&Method::POST, "/apps/1/events", &query, &body));
        }
    }
}
