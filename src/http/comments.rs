//! Comments: posting, lists, likes, reports, deletion. Parses and phrases; what may be seen and what stands, the engine says.
//!
//! A list is private once its asker is known, and sets a device's cookie never: who brings none is nobody.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::Extension;
use axum::extract::{Request, State};
use http::header::{CACHE_CONTROL, LINK, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admin::bears;
use super::comment_view::{CommentBody, ThreadBody, cursor_text, read_cursor};
use super::counts::{clip_ids, ids};
use super::front::Client;
use super::idempotency::{Idempotency, request_key};
use super::query::{NamePath, Query, invalid, named};
use super::reply::{self, Whole};
use super::routes::Outcome;
use super::vote::admitted;
use super::{App, body, cookie};
use crate::comments::Order;
use crate::domain::{CommentText, Seq};
use crate::engine::{CommentDraft, CommentQuery, Engine};
use crate::error::Reject;
use crate::identity::Identified;

const LIMIT: usize = 20;
const LIMIT_MAX: usize = 100;
/// Browsers ask again each time, so that nobody's reload shows less than they saw; shared caches spare us the rest.
const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=0, s-maxage=5, stale-while-revalidate=10");
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");
const BY_WHOM: HeaderValue = HeaderValue::from_static("authorization, cookie");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A comment to be posted.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NewComment")]
pub(super) struct Sent<'a> {
    #[serde(borrow)]
    #[schemars(required, length(min = 1), example = "clip-1")]
    clip_id: Option<Cow<'a, str>>,
    /// 1 to 500 characters.
    #[serde(borrow)]
    #[schemars(required, length(min = 1, max = 500), example = "What a jump!")]
    content: Option<Cow<'a, str>>,
    /// The comment that it answers.
    #[schemars(with = "Option<String>")]
    parent_id: Option<serde_json::Value>,
}

/// A comment that was posted.
#[derive(Serialize, JsonSchema)]
pub(super) struct Posted {
    success: bool,
    comment: CommentBody,
}

/// A page of a clip's comments, or of a comment's replies.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Threads {
    comments: Vec<ThreadBody>,
    /// All comments of the clip that anyone may see.
    total: u64,
    next_cursor: Option<String>,
    has_more: bool,
}

/// Numbers of comments by clips' ids.
#[derive(Serialize, JsonSchema)]
pub(super) struct CommentCounts<'a> {
    counts: BTreeMap<&'a str, u64>,
}

/// That it was done to a comment.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    success: bool,
    comment_id: String,
}

impl Done {
    fn with(id: Seq) -> Self {
        Self { success: true, comment_id: id.to_string() }
    }
}

/// A like, as it stands.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Like")]
pub(super) struct LikedBody {
    success: bool,
    #[serde(rename = "commentId")]
    comment_id: String,
    likes_count: u32,
    is_liked: bool,
}

/// `POST /api/comments`
pub(super) async fn post(State(app): State<App>, Extension(client): Extension<Client>, request: Request) -> Outcome {
    admitted(&app, app.0.admission.address(client.0))?;
    let (parts, sent_body) = request.into_parts();
    let text = body::read(&parts.headers, sent_body, app.0.options.body_timeout).await?;
    let sent: Sent<'_> = body::parse(&text)?;
    let clip = sent.clip_id.filter(|clip| !clip.is_empty()).ok_or(Reject::MissingClipId)?;
    let content = CommentText::new(&sent.content.ok_or_else(|| invalid("content", "1 to 500 characters"))?)?;
    let parent = sent.parent_id.as_ref().map(parent_id).transpose()?.flatten();

    let who = app.0.identity.resolve(&parts.headers, client.0, app.now_ms())?;
    admitted(&app, app.0.admission.voter(who.voter))?;
    if who.sub.is_none() && !app.0.options.anonymous_comments {
        return Err(Reject::NotSignedIn.into());
    }
    let key = Idempotency::key(&parts.headers)?;
    let request = key.map(|key| request_key(who.voter, "POST /api/comments", key, &text));
    let profile = app.0.identity.profile(&parts.headers, &who);
    let draft = CommentDraft { clip: &clip, parent, author: who.voter, profile, text: content, request };
    let posted = app.engine().post_comment(draft).await?;
    let found = app.engine().comment(posted.comment.place.id, Some(who.voter));
    // With answers before the flush it can't be found yet; what was posted is known all the same.
    let found = found.unwrap_or(crate::comments::Found { comment: posted.comment, replies: 0, set: 0 });
    let comment = CommentBody::new(app.engine(), &found, Some(who.voter));
    let mut answer = reply::json(StatusCode::CREATED, &Posted { success: true, comment });
    if posted.again {
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(private(answer, who))
}

/// `GET /api/comments?clipId=…`
pub(super) async fn list(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Outcome {
    let query = Query::of(&uri);
    let clip = query.get("clipId")?.filter(|clip| !clip.is_empty()).ok_or(Reject::MissingClipId)?;
    let parent = query.get("parentId")?.map(|text| id("parentId", &text)).transpose()?;
    let limit = limit(query)?;
    let sort = query.get("sort")?;
    let order = match sort.as_deref() {
        // A thread is read from its beginning.
        None if parent.is_some() => Order::Oldest,
        None | Some("newest") => Order::Newest,
        Some("oldest") => Order::Oldest,
        Some("top") => Order::Top,
        Some(_) => return Err(invalid("sort", "newest, oldest or top").into()),
    };
    let after = query.get("cursor")?.map(|text| read_cursor(order, &text)).transpose()?;
    let who = app.0.identity.known(&headers, app.now_ms())?;
    let viewer = who.as_ref().map(|who| who.voter);

    let of = clip.clone().into_owned();
    let ask = move |engine: &Engine| engine.comments(CommentQuery { clip: &of, parent, order, after, limit, viewer });
    let page = app.read(ask).await?;
    let comments: Vec<_> = page.threads.iter().map(|thread| ThreadBody::new(app.engine(), thread, viewer)).collect();
    let next = page.next.map(cursor_text);
    let total = app.engine().comment_count(&clip)?;
    let has_more = next.is_some();
    let body = Threads { comments, total, next_cursor: next.clone(), has_more };
    let mut answer = reply::json(StatusCode::OK, &body);
    if let Some(next) = next {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut url = format!("/api/comments?clipId={}&limit={limit}", encoded(&clip));
        for (name, value) in [("parentId", parent.map(|id| id.to_string())), ("sort", sort.map(Cow::into_owned))] {
            if let Some(value) = value {
                write!(url, "&{name}={}", encoded(&value)).expect("writing to a string");
            }
        }
        let link = HeaderValue::try_from(format!("<{url}&cursor={next}>; rel=\"next\"")).expect("it is encoded");
        answer.headers_mut().insert(LINK, link);
    }
    answer.headers_mut().insert(VARY, BY_WHOM);
    answer.headers_mut().insert(CACHE_CONTROL, if viewer.is_some() { PRIVATE } else { PUBLIC });
    Ok(answer)
}

/// `GET /api/comments/count?clipIds=a,b`
pub(super) async fn count(State(app): State<App>, uri: Uri) -> Outcome {
    let list = clip_ids(&uri)?;
    let mut counts = BTreeMap::new();
    for id in ids(&list)? {
        match app.engine().comment_count(id) {
            Ok(count) => drop(counts.insert(id, count)),
            Err(Reject::ClipNotFound) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let mut answer = reply::json(StatusCode::OK, &CommentCounts { counts });
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}

/// `DELETE /api/comments/{id}`
pub(super) async fn delete(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    path: NamePath,
) -> Outcome {
    admitted(&app, app.0.admission.address(client.0))?;
    let id = id_of(path)?;
    let done = Done::with(id);
    if bears(&headers, app.0.options.admin_token.as_deref()) {
        app.engine().delete_comment(id, None).await?;
        return Ok(reply::json(StatusCode::OK, &done));
    }
    let who = who(&app, &headers, client)?;
    app.engine().delete_comment(id, Some(who.voter)).await?;
    Ok(private(reply::json(StatusCode::OK, &done), who))
}

/// `PUT /api/comments/{id}/like`
pub(super) async fn like(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    path: NamePath,
) -> Outcome {
    set_like(&app, client, &headers, path, true).await
}

/// `DELETE /api/comments/{id}/like`
pub(super) async fn unlike(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    path: NamePath,
) -> Outcome {
    set_like(&app, client, &headers, path, false).await
}

/// `POST /api/comments/{id}/report`
pub(super) async fn report(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    path: NamePath,
) -> Outcome {
    admitted(&app, app.0.admission.address(client.0))?;
    let id = id_of(path)?;
    let who = who(&app, &headers, client)?;
    app.engine().report_comment(who.voter, id).await?;
    Ok(private(reply::json(StatusCode::OK, &Done::with(id)), who))
}

async fn set_like(app: &App, client: Client, headers: &HeaderMap, path: NamePath, on: bool) -> Outcome {
    admitted(app, app.0.admission.address(client.0))?;
    let id = id_of(path)?;
    let who = who(app, headers, client)?;
    let liked = app.engine().like_comment(who.voter, id, on).await?;
    let body =
        LikedBody { success: true, comment_id: id.to_string(), likes_count: liked.likes, is_liked: liked.stands };
    Ok(private(reply::json(StatusCode::OK, &body), who))
}

/// A path that names a comment, as axum found it.
/// The comment's id of a path.
pub(super) fn id_of(path: NamePath) -> Result<Seq, Reject> {
    id("id", &named(path)?)
}

/// How many things a page is to have.
pub(super) fn limit(query: Query<'_>) -> Result<usize, Reject> {
    let Some(text) = query.get("limit")? else { return Ok(LIMIT) };
    let number = if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None };
    number
        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        .ok_or_else(|| invalid("limit", "a whole number from 1 to 100"))
}

/// A comment's id: decimal digits.
pub(super) fn id(name: &'static str, text: &str) -> Result<Seq, Reject> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.filter(|id| *id > 0).ok_or_else(|| invalid(name, "a comment's id"))
}

/// An id as our answers write it, or as the number that it is.
fn parent_id(sent: &serde_json::Value) -> Result<Option<Seq>, Reject> {
    match sent {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => id("parentId", text).map(Some),
        other => id("parentId", &other.to_string()).map(Some),
    }
}

fn who(app: &App, headers: &HeaderMap, client: Client) -> Result<Identified, Reject> {
    let mut who = app.0.identity.resolve(headers, client.0, app.now_ms())?;
    admitted(app, app.0.admission.voter(who.voter))?;
    who.set_cookie = who.set_cookie.map(|cookie| cookie::placed(app, headers, cookie));
    Ok(who)
}

fn private(mut answer: Whole, who: Identified) -> Whole {
    answer.headers_mut().insert(CACHE_CONTROL, PRIVATE);
    if let Some(cookie) = who.set_cookie {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_is_decimal_digits() {
        assert_eq!(id("id", "18446744073709551615"), Ok(u64::MAX));
        for bad in ["", "0", "-1", "+1", "1.0", "x", "18446744073709551616", " 1"] {
            assert!(id("id", bad).is_err(), "{bad:?}");
        }
        assert_eq!(parent_id(&json!(null)), Ok(None));
        assert_eq!((parent_id(&json!("7")), parent_id(&json!(7))), (Ok(Some(7)), Ok(Some(7))));
        for bad in [json!(-7), json!(7.5), json!([7]), json!({}), json!(true), json!("")] {
            assert!(parent_id(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_has_a_bounded_number_of_things() {
        let limit = |query: &str| limit(Query::of(&format!("/x?{query}").parse().unwrap()));
        assert_eq!((limit(""), limit("limit=1"), limit("limit=100")), (Ok(20), Ok(1), Ok(100)));
        for bad in ["limit=0", "limit=101", "limit=-1", "limit=", "limit=x", "limit=99999999999999999999"] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }
}
