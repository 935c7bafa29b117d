//! Whose pages may call across origins, and what browsers ask of a server that lets them (CORS). Decides nothing else: a page that
//! may ask is answered like any client.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ALLOW, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request};

/// What pages may send beside what any page may.
const SENT: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-none-match, last-event-id, x-challenge-token, x-request-id",
);
/// What they may read beside what any page may.
const READ: HeaderValue = HeaderValue::from_static("etag, idempotency-replayed, link, retry-after, x-request-id");
/// Seconds for which a browser need not ask again; those that cap it do so by themselves.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Whose pages may call across origins.
#[derive(Clone, Debug, Default)]
pub enum Origins {
    /// None: those of the server's own origin call it all the same.
    #[default]
    Own,
    /// All, and without cookies: what they may do, any client may.
    Any,
    /// These, as browsers write them, in lower case; with cookies.
    Listed(Arc<[String]>),
}

/// What an answer is to say to the page behind its request.
#[derive(Debug)]
pub(super) struct Asked {
    /// The origin that may read it, if it may.
    origin: Option<HeaderValue>,
    /// Whether a browser asks beforehand.
    before: bool,
    listed: bool,
}

impl Origins {
    /// What a request asks for. `None`: nothing that an answer has to say anything about.
    pub(super) fn asked<B>(&self, request: &Request<B>) -> Option<Asked> {
        let headers = request.headers();
        let listed = match self {
            Self::Own => return None,
            Self::Any => None,
            Self::Listed(origins) => Some(origins),
        };
        let origin = headers.get(ORIGIN).filter(|origin| {
            listed.is_none_or(|listed| listed.iter().any(|one| origin.as_bytes().eq_ignore_ascii_case(one.as_bytes())))
        });
        let before = request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Some(Asked { origin: origin.cloned(), before, listed: listed.is_some() })
    }
}

impl Asked {
    /// Says it.
    pub(super) fn answer(self, headers: &mut HeaderMap) {
        if self.listed {
            // Caches keep answers apart, those too that no page asked for.
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = self.origin else { return };
        if self.listed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        } else {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        if self.before {
            if let Some(methods) = headers.get(ALLOW).cloned() {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            }
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        } else {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, READ);
        }
    }
}
