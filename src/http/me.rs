//! A voter's own data: all that is kept of whoever asks, as one document, and its erasure. Who is known by neither token nor
//! cookie is refused, since look-alikes behind one address share a device's key until a cookie tells them apart.
//!
//! The document is written while it is read, by a thread that may wait for the disk: however much there is, memory holds a piece of
//! it. Sets no cookie by reading. Never: another voter's data, or the [`crate::domain::VoterId`]; what an erasure empties, the
//! engine says.

use std::io::{BufWriter, Write};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::header::{CONTENT_DISPOSITION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::counts::private;
use super::front::Client;
use super::query::NamePath;
use super::reply::{self, Whole};
use super::routes::{Outcome, Refused};
use super::view::ClipBody;
use super::vote::admitted;
use super::{App, admin, cookie, pieces};
use crate::clock::DAY_MS;
use crate::domain::{CommentStatus, Seq, VoteKind};
use crate::engine::{Allowance, OwnComment, OwnData, OwnMark, OwnVoid, OwnVote, See};
use crate::error::{Fault, Reject};
use crate::identity::{Identified, Identity};

const FILE: HeaderValue = HeaderValue::from_static("attachment; filename=\"plaudit-me.json\"");
/// So long it may take in all: there are few places, and a slow reader must not keep one for good.
const WITHIN: Duration = Duration::from_mins(10);
/// Bytes that are gathered before they go on their way.
const GATHERED: usize = 16 * 1024;

/// All that is kept of a voter. The document shows it; it is written a thing at a time.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OwnData")]
pub(super) struct OwnBody<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    /// Slot by slot.
    votes: Vec<VoteBody<'a>>,
    /// The oldest first.
    comments: Vec<CommentBody<'a>>,
    /// Likes and reports of comments, the oldest comment first.
    reactions: Vec<ReactionBody<'a>>,
}

/// What is small.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    /// Everything up to this sequence is in it; what came while it was read may be.
    as_of: String,
    /// The name that others see.
    user_id: String,
    today: Today,
    /// The ban that is kept; it may have run out.
    ban: Option<BanBody>,
    /// Clips that name the voter as their maker.
    clips: Vec<ClipBody<'a>>,
    /// Voids that an operator asked for by the voter's name.
    voids: Vec<VoidBody>,
    /// Erasures that have not ended: until then the voter's id is kept.
    erasures: Vec<ErasureBody>,
}

/// What the voter used of today's limit.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OwnBudget")]
struct Today {
    /// Weight used today.
    used: u32,
    /// Weight that is left today.
    remaining: u32,
    /// The next UTC midnight, Unix milliseconds.
    reset_at: u64,
}

/// A voter's own ban.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OwnBan")]
struct BanBody {
    /// Unix milliseconds; null: until it is lifted.
    until: Option<u64>,
    reason: String,
}

/// A void that an operator asked for by the voter's name.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OwnVoid")]
struct VoidBody {
    id: String,
    season: String,
    slot: u32,
    reason: String,
    /// Unix milliseconds.
    created_at: u64,
    /// Unix milliseconds; null: it came to nothing.
    taken_at: Option<u64>,
    /// Unix milliseconds.
    lifted_at: Option<u64>,
}

/// An erasure that has not ended.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OwnErasure")]
struct ErasureBody {
    id: String,
    /// Whether comments, likes and reports of before are emptied.
    comments_emptied: bool,
}

/// A vote of the voter's.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OwnVote")]
struct VoteBody<'a> {
    event_id: String,
    /// Unix milliseconds.
    at: u64,
    season: &'a str,
    slot: u32,
    clip_id: &'a str,
    vote_type: VoteKind,
    weight: u16,
    /// Where the UTC day begins that it is charged to, Unix milliseconds.
    day: u64,
    /// Kept until the slot is locked.
    taken_back: Option<TakenBack>,
    /// Whether a void takes it out of the counts.
    voided: bool,
    /// Whether a hash stands in the place of the voter's id.
    erased: bool,
    /// 0 to 100: how much its request looked like cheating.
    risk: u8,
    flagged: bool,
    /// A keyed hash of the network that it came from; null: none is kept.
    network: Option<String>,
}

/// That a vote was taken back.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TakenBack {
    event_id: String,
    /// Unix milliseconds.
    at: u64,
}

/// A comment of the voter's.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OwnComment")]
struct CommentBody<'a> {
    id: String,
    clip_id: &'a str,
    parent_id: Option<String>,
    depth: u8,
    /// Unix milliseconds.
    created_at: u64,
    status: CommentStatus,
    /// The name that others see; null: none came with it, or it is deleted.
    username: Option<&'a str>,
    avatar_url: Option<&'a str>,
    /// As it was sent; null: it is deleted.
    content: Option<&'a str>,
    likes_count: u32,
}

/// What the voter did with a comment.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OwnReaction")]
struct ReactionBody<'a> {
    comment_id: String,
    clip_id: &'a str,
    liked: bool,
    reported: bool,
}

/// `GET /api/me/export`
pub(super) async fn export(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let who = known(&app, client, &headers)?;
    // Before anything waits or is read: who is too many costs nothing.
    let place = app.0.own.take(who.voter).ok_or_else(|| {
        app.engine().metrics().overloaded.inc();
        Reject::Overloaded
    })?;
    let data = app.engine().own_data(who.voter).await?;
    let mut answer = pieces::answer("a voter's own data", "application/json", Some(WITHIN), move |out| {
        // Held until the reading ends, whether its client is still there or not.
        let _place = place;
        write(&data, out)
    });
    answer.headers_mut().insert(CONTENT_DISPOSITION, FILE);
    Ok(answer)
}

/// That an erasure has begun. The rest of it follows, restarts or not.
#[derive(Serialize, JsonSchema)]
pub(super) struct Erasure {
    /// Its id: the sequence of its begin, in decimal digits. What the voter did before it is emptied.
    erasure: String,
}

/// `DELETE /api/me`
pub(super) async fn erase(State(app): State<App>, Extension(client): Extension<Client>, headers: HeaderMap) -> Outcome {
    let who = known(&app, client, &headers)?;
    let mut answer = begun(app.engine().erase(who.voter).await?);
    if who.sub.is_none() {
        answer.headers_mut().insert(SET_COOKIE, cookie::placed(&app, &headers, Identity::forgotten()));
    }
    Ok(answer)
}

/// `DELETE /api/admin/voters/{sub}`
pub(super) async fn erase_voter(State(app): State<App>, headers: HeaderMap, path: NamePath) -> Outcome {
    admin::check(&app, &headers)?;
    let voter = admin::voter(&app, path).await?;
    Ok(begun(app.engine().erase(voter).await?))
}

fn begun(erasure: Seq) -> Whole {
    private(reply::json(StatusCode::ACCEPTED, &Erasure { erasure: erasure.to_string() }))
}

/// Who asks, by a token or a device's cookie; within the rates, for what they ask for is dear.
fn known(app: &App, client: Client, headers: &HeaderMap) -> Result<Identified, Reject> {
    admitted(app, app.0.admission.address(client.0))?;
    let who = app.0.identity.known(headers, app.now_ms())?.ok_or(Reject::NotSignedIn)?;
    admitted(app, app.0.admission.voter(who.voter))?;
    Ok(who)
}

fn write(data: &OwnData, out: &mut dyn Write) -> Result<(), Fault> {
    let clips = data.clips();
    let head = serde_json::to_vec(&Head::of(data, &clips)).expect("our own types always serialise");
    let mut out = BufWriter::with_capacity(GATHERED, out);
    put(&mut out, head.strip_suffix(b"}").expect("an object ends so"))?;
    list(&mut out, "votes", |see| data.votes(see), |vote, to| serde_json::to_writer(to, &VoteBody::from(vote)))?;
    list(&mut out, "comments", |see| data.comments(see), |of, to| serde_json::to_writer(to, &CommentBody::from(of)))?;
    list(
        &mut out,
        "reactions",
        |see| data.marks(see),
        |mark, to| serde_json::to_writer(to, &ReactionBody::from(mark)),
    )?;
    put(&mut out, b"}")?;
    out.flush().map_err(|why| sending(&why))
}

type Out<'a> = BufWriter<&'a mut dyn Write>;

/// A list of what a reading finds, as it finds it.
fn list<T>(
    out: &mut Out<'_>,
    name: &str,
    read: impl FnOnce(See<'_, T>) -> Result<(), Fault>,
    text: impl Fn(&T, &mut Out<'_>) -> serde_json::Result<()>,
) -> Result<(), Fault> {
    put(out, format!(",\"{name}\":[").as_bytes())?;
    let mut first = true;
    read(&mut |found| {
        let Some(found) = found else { return out.get_mut().flush().map_err(|why| sending(&why)) };
        if !std::mem::replace(&mut first, false) {
            put(out, b",")?;
        }
        text(&found, out).map_err(|why| sending(&why.into()))
    })?;
    put(out, b"]")
}

fn put(out: &mut Out<'_>, bytes: &[u8]) -> Result<(), Fault> {
    out.write_all(bytes).map_err(|why| sending(&why))
}

fn sending(why: &std::io::Error) -> Fault {
    Fault::io("sending a voter's own data", why)
}

impl<'a> Head<'a> {
    fn of(data: &OwnData, clips: &'a [crate::engine::ClipView]) -> Self {
        let Allowance { used, remaining, reset_at } = data.allowance();
        Self {
            as_of: data.as_of().to_string(),
            user_id: data.user_id(),
            today: Today { used, remaining, reset_at },
            ban: data.ban().map(|ban| BanBody { until: ban.until, reason: ban.reason }),
            clips: clips.iter().map(ClipBody::from).collect(),
            voids: data.voids().into_iter().map(VoidBody::from).collect(),
            erasures: data
                .erasures()
                .into_iter()
                .map(|(id, comments_emptied)| ErasureBody { id: id.to_string(), comments_emptied })
                .collect(),
        }
    }
}

impl From<OwnVoid> for VoidBody {
    fn from(void: OwnVoid) -> Self {
        Self {
            id: void.id.to_string(),
            season: void.season.to_string(),
            slot: void.position,
            reason: void.reason,
            created_at: void.begun_at,
            taken_at: void.taken_at,
            lifted_at: void.lifted_at,
        }
    }
}

impl<'a> From<&'a OwnVote> for VoteBody<'a> {
    fn from(vote: &'a OwnVote) -> Self {
        Self {
            event_id: vote.seq.to_string(),
            at: vote.at,
            season: vote.season.as_str(),
            slot: vote.position,
            clip_id: vote.clip.as_str(),
            vote_type: vote.kind,
            weight: vote.weight,
            day: u64::from(vote.day) * DAY_MS,
            taken_back: vote.taken_back.map(|(seq, at)| TakenBack { event_id: seq.to_string(), at }),
            voided: vote.voided,
            erased: vote.erased,
            risk: vote.origin.risk,
            flagged: vote.origin.is_flagged(),
            network: vote.origin.network.hex(),
        }
    }
}

impl<'a> From<&'a OwnComment> for CommentBody<'a> {
    fn from(OwnComment { comment, clip }: &'a OwnComment) -> Self {
        let parent = comment.place.parent;
        let kept = comment.status != CommentStatus::Deleted;
        Self {
            id: comment.place.id.to_string(),
            clip_id: clip.as_str(),
            parent_id: (parent != 0).then(|| parent.to_string()),
            depth: comment.depth,
            created_at: comment.at,
            status: comment.status,
            username: Some(comment.profile.name.as_str()).filter(|name| !name.is_empty()),
            avatar_url: comment.profile.avatar.as_deref(),
            content: kept.then_some(comment.text.as_str()),
            likes_count: comment.likes,
        }
    }
}

impl<'a> From<&'a OwnMark> for ReactionBody<'a> {
    fn from(mark: &'a OwnMark) -> Self {
        let (liked, reported) = (mark.liked, mark.reported);
        Self { comment_id: mark.comment.to_string(), clip_id: mark.clip.as_str(), liked, reported }
    }
}
