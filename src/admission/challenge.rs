//! The challenge before a device's first vote: the site's own verifier is asked whether what the client solved is good.
//!
//! ```text
//! POST <challenge-url>            Authorization: Bearer <challenge-secret>, if there is one
//! {"token":"…","userId":"…"}      what the client sent in X-Challenge-Token; the device's public name. No address
//! → {"success":true}              with a 2xx: passed
//! → {"success":false}             with any status below 500: not passed
//! ```
//!
//! Anything else, and no answer in time, is a failure of the verifier, and then nobody passes. After [`FAILURES`] failures in a row
//! it is left alone for [`OPEN_MS`], and everybody is refused at once; then one request asks for all whether it is back.
//! A refusal is an answer: who sends bad tokens can't shut the door for others.
//!
//! Never: remembers who passed (the device's cookie does), is asked about voters with a token, or asks again by itself.

mod breaker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use breaker::Breaker;
pub use breaker::{FAILURES, OPEN_MS};

use crate::clock::Clock;
use crate::error::{Fault, Reject};
use crate::metrics::Metrics;
use crate::outbound::Outbound;

/// Carries what the client solved.
pub const TOKEN: HeaderName = HeaderName::from_static("x-challenge-token");
/// Bytes of the longest token.
pub const TOKEN_MAX: usize = 8 * 1024;
/// Bytes of a verifier's answer that are read.
const ANSWER_MAX: usize = 16 * 1024;

/// Which verifier is asked, and how.
#[derive(Clone)]
pub struct ChallengeOptions {
    /// Where it is.
    pub url: String,
    /// Shows it who asks, as the bytes given.
    pub secret: Option<Vec<u8>>,
    /// How long it may take.
    pub within: Duration,
    /// Devices that it is asked about at once; one more is refused as overloaded.
    pub at_once: usize,
}

impl ChallengeOptions {
    /// Two seconds, 64 at once.
    pub fn new(url: &str, secret: Option<Vec<u8>>) -> Self {
        Self { url: url.to_owned(), secret, within: Duration::from_secs(2), at_once: 64 }
    }
}

/// The site's verifier. Clones share it.
#[derive(Clone)]
pub struct Challenge(Arc<Inner>);

struct Inner {
    outbound: Outbound,
    url: Uri,
    authorization: Option<HeaderValue>,
    within: Duration,
    turns: Semaphore,
    breaker: Breaker,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Challenge {
    /// Prepares to ask. Fails when the URL or the secret can't be sent.
    pub fn new(options: &ChallengeOptions, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Result<Self, Fault> {
        let url = options.url.parse().map_err(|_| Fault::Setting("--challenge-url is no URL".into()))?;
        let bearer = |secret: &Vec<u8>| {
            let mut value = HeaderValue::from_bytes(&[b"Bearer ", &secret[..]].concat())
                .map_err(|_| Fault::Setting("--challenge-secret can't be sent in a header".into()))?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Self(Arc::new(Inner {
            outbound: Outbound::new()?,
            url,
            authorization: options.secret.as_ref().map(bearer).transpose()?,
            within: options.within,
            turns: Semaphore::new(options.at_once),
            breaker: Breaker::default(),
            clock,
            metrics,
        })))
    }

    /// Asks whether the token of a request is good, for the device of that public name. `ChallengeRequired` when there is
    /// no token, `ChallengeFailed` when it isn't good or nobody can say.
    pub async fn pass(&self, headers: &HeaderMap, user_id: &str) -> Result<(), Reject> {
        let Inner { turns, breaker, clock, metrics, .. } = &*self.0;
        let token = headers.get(TOKEN).and_then(|token| token.to_str().ok()).filter(|token| !token.is_empty());
        let token = token.ok_or(Reject::ChallengeRequired)?;
        if token.len() > TOKEN_MAX {
            return Err(Reject::ChallengeFailed { retry_after_s: None });
        }
        let Ok(_turn) = turns.try_acquire() else { return Err(Reject::Overloaded) };
        let asked = breaker.enter(clock.now_ms()).map_err(|wait| {
            metrics.challenges_unasked.inc();
            Reject::ChallengeFailed { retry_after_s: Some(wait) }
        })?;
        match self.ask(token, user_id).await {
            Ok(passed) => {
                asked.answered();
                if passed {
                    metrics.challenges_passed.inc();
                    return Ok(());
                }
                metrics.challenges_refused.inc();
                Err(Reject::ChallengeFailed { retry_after_s: None })
            }
            Err(why) => {
                metrics.challenges_unasked.inc();
                tracing::warn!("the verifier of --challenge-url could not be asked: {why}");
                if asked.failed(clock.now_ms()) {
                    tracing::error!("--challenge-url is left alone for {} s: new devices can't vote", OPEN_MS / 1000);
                }
                Err(Reject::ChallengeFailed { retry_after_s: Some(1) })
            }
        }
    }

    /// Whether the verifier says that the token is good; what is wrong with the verifier if it doesn't say.
    async fn ask(&self, token: &str, user_id: &str) -> Result<bool, String> {
        #[derive(Deserialize)]
        struct Told {
            success: bool,
        }
        let Inner { outbound, url, authorization, within, .. } = &*self.0;
        let body = json!({ "token": token, "userId": user_id }).to_string();
        let mut request = Request::post(url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|why| why.to_string())?;
        let (status, body) = outbound.answer(request, *within, ANSWER_MAX).await?;
        let told = serde_json::from_slice::<Told>(&body).ok().map(|told| told.success);
        match told {
            Some(true) if (200..300).contains(&status) => Ok(true),
            Some(false) if status < 500 => Ok(false),
            _ => Err(format!("it answered {status} without saying whether the token is good")),
        }
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge").field("url", &self.0.url).finish_non_exhaustive()
    }
}
