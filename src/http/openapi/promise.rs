//! Holds answers to the document: in debug builds, which all tests run against, an answer whose status, code or header its
//! operation doesn't name is a bug that ends the request. Release builds never look.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::about::About;
use super::errors;
use crate::http::reply::Whole;
use crate::http::routes::{Route, Verb};

/// What an operation may answer.
#[derive(Clone, Debug)]
pub(in crate::http) struct Promise {
    id: &'static str,
    /// Statuses that are no errors, and their headers; an error's status is that of its code.
    given: BTreeMap<u16, BTreeSet<String>>,
    codes: BTreeSet<&'static str>,
}

impl Promise {
    /// What is said of an operation.
    pub(in crate::http) fn of(about: &About) -> Self {
        let given = about
            .given
            .iter()
            .map(|given| (given.status, given.headers.iter().map(|name| name.to_ascii_lowercase()).collect()));
        Self { id: about.id, given: given.collect(), codes: about.codes.iter().copied().collect() }
    }

    /// Panics at an answer that it does not allow. `code` is an error's.
    pub(in crate::http) fn hold(&self, status: StatusCode, headers: &HeaderMap, code: Option<&str>) {
        let id = self.id;
        if let Some(code) = code {
            assert!(self.codes.contains(code), "{id} answers {code}, which the document does not say");
            return;
        }
        let Some(allowed) = self.given.get(&status.as_u16()) else {
            panic!("{id} answers {status}, which the document does not say");
        };
        let more: Vec<_> = errors::shown(headers).difference(allowed).cloned().collect();
        assert!(more.is_empty(), "{id} answers {status} with {more:?}, which the document does not say");
    }
}

/// The promises of what is answered before the router.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Promises(Vec<(&'static str, Verb, Promise)>);

impl Promises {
    /// Those of a table. None in release builds.
    pub(in crate::http) fn of(routes: &[Route]) -> Self {
        if !cfg!(debug_assertions) {
            return Self::default();
        }
        let all = routes.iter().flat_map(|route| route.operations.iter().map(|operation| (route.path, operation)));
        Self(all.map(|(path, operation)| (path, operation.verb, Promise::of(&operation.about))).collect())
    }

    /// Panics at an answer that the request's operation does not allow. What is none of the table's is let pass.
    pub(in crate::http) fn hold(&self, method: &Method, path: &str, answer: &Whole) {
        let Some(verb) = Verb::of(method) else { return };
        let Some((.., promise)) = self.0.iter().find(|(of, by, _)| *by == verb && matches(of, path)) else { return };
        let status = answer.status();
        let body = answer.body().clone().into_inner().filter(|_| status.is_client_error() || status.is_server_error());
        let error: Option<Value> = body.and_then(|body| serde_json::from_slice(&body).ok());
        promise.hold(status, answer.headers(), error.as_ref().and_then(|error| error["error"].as_str()));
    }
}

/// Whether a path is one of a pattern.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut of, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (of.next(), parts.next()) {
            (None, None) => return true,
            (Some(of), Some(part)) if of == part || (of.starts_with('{') && !part.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::reply;
    use crate::http::routes::table;

    #[test]
    fn a_path_is_one_of_a_pattern() {
        assert!(matches("/apps/{app}/channels", "/apps/7/channels"));
        for no in ["/apps/7", "/apps//channels", "/apps/7/channels/x", "/app/7/channels"] {
            assert!(!matches("/apps/{app}/channels", no), "{no}");
        }
    }

    #[test]
    #[should_panic(expected = "castVote answers NOT_VOTED")]
    fn an_answer_that_is_not_described_is_a_bug() {
        let answer = reply::refusal(&crate::error::Reject::NotVoted, false);
        Promises::of(&table(false)).hold(&Method::POST, "/api/vote", &answer);
    }

    #[test]
    #[should_panic(expected = "answers 200 OK with [\"set-cookie\"]")]
    fn a_header_that_is_not_described_is_a_bug() {
        let mut answer = reply::empty(StatusCode::OK);
        answer.headers_mut().insert(http::header::SET_COOKIE, http::HeaderValue::from_static("a=b"));
        Promises::of(&table(false)).hold(&Method::GET, "/api/vote", &answer);
    }
}
