//! `GET /api/clips/{id}/timeline`: what a clip gained by the minute, or what it had at a moment.

use axum::extract::State;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode, Uri};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::query::{NamePath, Query, invalid, named};
use super::reply::{self, Whole};
use super::routes::Outcome;
use crate::boards::timeline::Point;
use crate::engine::Moment;
use crate::error::Reject;

const POINTS: usize = 500;
const POINTS_MAX: usize = 1_440;
const MINUTE_MS: u64 = 60_000;
const STEP_MAX_MS: u64 = 30 * 86_400_000;
/// Numbers from here on are times, below sequences: Unix milliseconds since March 1973.
const TIMES_FROM: u64 = 100_000_000_000;

/// What a clip gained, or had.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Timeline {
    Series(Series),
    Then(Then),
}

/// What a clip gained by the step.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Series {
    clip_id: String,
    step_ms: u64,
    /// Steps without a vote are left out. Null while results are hidden.
    points: Option<Vec<PointBody>>,
    results_hidden: bool,
    /// The `from` of the next page.
    next_from: Option<u64>,
    /// The sequence that it is exact at.
    as_of: Option<String>,
}

/// A step.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Point")]
pub(super) struct PointBody {
    /// Its begin, Unix milliseconds.
    at: u64,
    /// Votes less retractions.
    votes: i64,
    weight: i64,
    /// All votes up to its end.
    vote_count: u64,
    weighted_score: u64,
}

impl From<&Point> for PointBody {
    fn from(point: &Point) -> Self {
        Self {
            at: point.at,
            votes: point.votes,
            weight: point.weight,
            vote_count: point.total_votes,
            weighted_score: point.total_weight,
        }
    }
}

/// What a clip had.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Then {
    clip_id: String,
    /// Null while results are hidden.
    vote_count: Option<u64>,
    /// Null while results are hidden.
    weighted_score: Option<u64>,
    /// The sequence that it is exact at.
    as_of: Option<String>,
    results_hidden: bool,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
    /// The moment that it is of, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
}

/// `GET /api/clips/{id}/timeline?step=1m&from=…&limit=…`, or `?at=…`
pub(super) async fn timeline(State(app): State<App>, path: NamePath, uri: Uri) -> Outcome {
    let clip = named(path)?;
    let query = Query::of(&uri);
    let engine = app.engine().clone();
    // Looked at whatever is asked for: what can't be right is not passed over.
    let step = query.get("step")?.map_or(Ok(MINUTE_MS), |text| step(&text))?;
    let from = query.get("from")?.map_or(Ok(0), |text| number("from", &text))?;
    let limit = limit(query)?;
    let body = if let Some(text) = query.get("at")? {
        let moment = moment(&text)?;
        blocking(move || {
            let then = engine.counts_then(&clip, moment)?;
            let (sequence, time) = match moment {
                Moment::Sequence(seq) => (Some(seq.to_string()), None),
                // Of a locked slot an earlier one, if that is what its minutes know.
                Moment::Time(at) => (None, Some(then.as_ref().and_then(|then| then.at_ms).unwrap_or(at))),
            };
            Ok(Timeline::Then(Then {
                clip_id: clip,
                vote_count: then.as_ref().map(|then| then.votes),
                weighted_score: then.as_ref().map(|then| then.weight),
                as_of: then.as_ref().map(|then| then.as_of.to_string()),
                results_hidden: then.is_none(),
                sequence,
                time,
            }))
        })
        .await?
    } else {
        blocking(move || {
            let series = engine.timeline(&clip, step, from, limit)?;
            let points = series.as_ref().map(|series| series.points.iter().map(PointBody::from).collect());
            Ok(Timeline::Series(Series {
                clip_id: clip,
                step_ms: step,
                points,
                results_hidden: series.is_none(),
                next_from: series.as_ref().and_then(|series| series.next),
                as_of: series.map(|series| series.as_of.to_string()),
            }))
        })
        .await?
    };
    Ok(public(&body))
}

/// Reads of pages, beside the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Reject> + Send + 'static,
) -> Result<T, Reject> {
    tokio::task::spawn_blocking(read).await.map_err(|_| Reject::Overloaded)?
}

fn public(body: &Timeline) -> Whole {
    let mut answer = reply::json(StatusCode::OK, body);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// `15m`, `1h`, `1d`: a whole number of minutes, hours or days.
pub(super) fn step(text: &str) -> Result<u64, Reject> {
    let wrong = || invalid("step", "a whole number of m, h or d up to 30d, as 1m, 5m, 1h or 1d");
    let unit = match text.chars().last() {
        Some('m') => MINUTE_MS,
        Some('h') => 60 * MINUTE_MS,
        Some('d') => 24 * 60 * MINUTE_MS,
        _ => return Err(wrong()),
    };
    let count = number("step", &text[..text.len() - 1]).map_err(|_| wrong())?;
    let step = count.checked_mul(unit).filter(|step| (MINUTE_MS..=STEP_MAX_MS).contains(step));
    step.ok_or_else(wrong)
}

/// A time in Unix milliseconds, or a sequence: a number below 10¹¹, or `seq:` and any number.
fn moment(text: &str) -> Result<Moment, Reject> {
    if let Some(text) = text.strip_prefix("seq:") {
        return number("at", text).map(Moment::Sequence);
    }
    let number = number("at", text)?;
    Ok(if number < TIMES_FROM { Moment::Sequence(number) } else { Moment::Time(number) })
}

fn limit(query: Query<'_>) -> Result<usize, Reject> {
    let Some(text) = query.get("limit")? else { return Ok(POINTS) };
    let limit = number("limit", &text).ok().and_then(|limit| usize::try_from(limit).ok());
    limit
        .filter(|limit| (1..=POINTS_MAX).contains(limit))
        .ok_or_else(|| invalid("limit", "a whole number from 1 to 1440"))
}

fn number(name: &'static str, text: &str) -> Result<u64, Reject> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| invalid(name, "a whole number: Unix milliseconds, or a sequence"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_whole_minutes() {
        let steps = [("1m", 60_000), ("5m", 300_000), ("1h", 3_600_000), ("1d", 86_400_000), ("30d", 2_592_000_000)];
        for (text, ms) in steps {
            assert_eq!(step(text), Ok(ms), "{text}");
        }
        for bad in ["", "m", "0m", "-1m", "1s", "1", "1.5h", "31d", "18446744073709551615d", "1m "] {
            assert!(step(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_moment_is_a_sequence_or_a_time() {
        assert_eq!(moment("0"), Ok(Moment::Sequence(0)));
        assert_eq!(moment("99999999999"), Ok(Moment::Sequence(99_999_999_999)));
        assert_eq!(moment("1700000000000"), Ok(Moment::Time(1_700_000_000_000)));
        assert_eq!(moment("seq:1700000000000"), Ok(Moment::Sequence(1_700_000_000_000)));
        for bad in ["", "x", "-1", "+1", "seq:", "seq:x", "99999999999999999999"] {
            assert!(moment(bad).is_err(), "{bad:?}");
        }
    }
}
