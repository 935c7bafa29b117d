//! `GET /api/leaderboard` and one's own place on it. The page is the same for everyone who asks and may be cached; the own rank
//! is an answer of its own, and private.

use axum::Extension;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LINK};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;

use super::App;
use super::comments::limit;
use super::counts::PRIVATE;
use super::etag::names;
use super::front::Client;
use super::query::{Query, invalid};
use super::reply;
use super::routes::Outcome;
use super::slot::FRESH;
use crate::boards::{Board, Score, Subject, Window};
use crate::engine::{Leaderboard, Ranked};
use crate::error::Reject;

/// `GET /api/leaderboard?type=…&season=…&slot=…&window=…&limit=&cursor=`
pub(super) async fn page(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Outcome {
    let query = Query::of(&uri);
    let asked = Asked::read(&app, query)?;
    let limit = limit(query)?;
    let behind = query.get("cursor")?.map(|text| read_cursor(asked.board.of, &text)).transpose()?;
    let found = asked.built(&app, |app, board| app.engine().leaderboard(board, behind, limit)).await?;
    let next = found.next.map(|score| cursor(asked.board.of, score));
    let body = asked.body(&found, next.as_deref());
    // Without what moves with every event anywhere: a board that stays the same keeps its tag.
    let hash = blake3::hash(&serde_json::to_vec(&body).expect("our own types always serialise")).to_hex();
    let tag = format!("\"{}\"", &hash[..32]);
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|line| names(line.as_bytes(), tag.as_bytes()));
    let mut answer = if known {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        reply::json(StatusCode::OK, &RanksAsOf { ranks: body, as_of: found.as_of.to_string() })
    };
    if let Some(next) = next {
        let url = format!("/api/leaderboard?{}&limit={limit}&cursor={next}", asked.query());
        let link = HeaderValue::try_from(format!("<{url}>; rel=\"next\"")).expect("it is encoded");
        answer.headers_mut().insert(LINK, link);
    }
    answer.headers_mut().insert(ETAG, HeaderValue::try_from(format!("W/{tag}")).expect("hex digits in quotes"));
    answer.headers_mut().insert(CACHE_CONTROL, FRESH);
    Ok(answer)
}

/// `GET /api/leaderboard/me?type=voters&season=…&slot=…&window=…`
pub(super) async fn me(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    uri: Uri,
    headers: HeaderMap,
) -> Outcome {
    let query = Query::of(&uri);
    let mut asked = Asked::read(&app, query)?;
    if query.get("type")?.is_none() {
        asked.board.of = Subject::Voters;
    }
    if asked.board.of == Subject::Clips {
        return Err(invalid("type", "voters or creators").into());
    }
    let voter = app.0.identity.look(&headers, client.0, app.now_ms())?;
    let found = asked.built(&app, |app, board| app.engine().standing(board, voter)).await?;
    let body = Own {
        of: asked.about(),
        as_of: found.as_of.to_string(),
        total: found.total,
        user_id: found.user_id,
        rank: found.at.map(|(rank, _)| rank),
        vote_count: found.at.map_or(0, |(_, score)| score.votes),
        weighted_score: found.at.map_or(0, |(_, score)| score.weight),
    };
    let mut answer = reply::json(StatusCode::OK, &body);
    answer.headers_mut().insert(CACHE_CONTROL, PRIVATE);
    Ok(answer)
}

/// The board that is asked for, in the words of the request.
struct Asked {
    board: Board,
    season: Option<String>,
    slot: Option<u32>,
}

impl Asked {
    fn read(app: &App, query: Query<'_>) -> Result<Self, Reject> {
        let of = match query.get("type")?.as_deref() {
            None | Some("clips") => Subject::Clips,
            Some("voters") => Subject::Voters,
            Some("creators") => Subject::Creators,
            Some(_) => return Err(invalid("type", "clips, voters or creators")),
        };
        let window = match query.get("window")?.as_deref() {
            None | Some("all") => Window::All,
            Some("day") => Window::Day,
            Some(_) => return Err(invalid("window", "all or day")),
        };
        let season = query.get("season")?.map(std::borrow::Cow::into_owned);
        let slot = query.position("slot")?;
        let board = app.engine().board(of, season.as_deref(), slot, window)?;
        Ok(Self { board, season, slot })
    }

    /// Asks, and where nobody did lately has the board built first, beside the threads that serve.
    async fn built<T>(&self, app: &App, ask: impl Fn(&App, Board) -> Result<Option<T>, Reject>) -> Result<T, Reject> {
        // A board may go between the two when very many are asked for at once.
        for _ in 0..4 {
            if let Some(found) = ask(app, self.board)? {
                return Ok(found);
            }
            let (engine, board) = (app.engine().clone(), self.board);
            let building = tokio::task::spawn_blocking(move || engine.build_board(board)).await;
            building.map_err(|_| Reject::Overloaded)??;
        }
        Err(Reject::Overloaded)
    }

    fn type_name(&self) -> &'static str {
        match self.board.of {
            Subject::Clips => "clips",
            Subject::Voters => "voters",
            Subject::Creators => "creators",
        }
    }

    fn window_name(&self) -> &'static str {
        if self.board.window == Window::Day { "day" } else { "all" }
    }

    fn query(&self) -> String {
        let season = self.season.as_deref().map(|id| format!("&season={}", utf8_percent_encode(id, NON_ALPHANUMERIC)));
        let slot = self.slot.map(|slot| format!("&slot={slot}"));
        let (season, slot) = (season.unwrap_or_default(), slot.unwrap_or_default());
        format!("type={}&window={}{season}{slot}", self.type_name(), self.window_name())
    }

    fn about(&self) -> BoardName<'_> {
        BoardName { of: self.type_name(), window: self.window_name(), season: self.season.as_deref(), slot: self.slot }
    }

    fn body<'a>(&'a self, found: &'a Leaderboard, next: Option<&'a str>) -> Ranks<'a> {
        Ranks {
            of: self.about(),
            entries: found.rows.iter().map(Entry::new).collect(),
            total: found.total,
            results_hidden: found.hides,
            next_cursor: next,
            has_more: next.is_some(),
        }
    }
}

/// Which board it is.
#[derive(Serialize, JsonSchema)]
struct BoardName<'a> {
    /// `clips`, `voters` or `creators`.
    #[serde(rename = "type")]
    of: &'static str,
    /// `all` or `day`.
    window: &'static str,
    season: Option<&'a str>,
    slot: Option<u32>,
}

/// What a page of a leaderboard shows, whenever it is exact.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Ranks<'a> {
    #[serde(flatten)]
    of: BoardName<'a>,
    entries: Vec<Entry<'a>>,
    /// Rows of the whole board.
    total: usize,
    /// Clips whose results are hidden are left out.
    results_hidden: bool,
    next_cursor: Option<&'a str>,
    has_more: bool,
}

/// A page of a leaderboard.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Leaderboard")]
pub(super) struct RanksAsOf<'a> {
    #[serde(flatten)]
    ranks: Ranks<'a>,
    /// The sequence that it is exact at.
    as_of: String,
}

/// One's own place on a leaderboard.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OwnRank")]
pub(super) struct Own<'a> {
    #[serde(flatten)]
    of: BoardName<'a>,
    /// The sequence that it is exact at.
    as_of: String,
    /// Rows of the whole board.
    total: usize,
    user_id: String,
    /// Null: not on the board.
    rank: Option<usize>,
    vote_count: u32,
    weighted_score: u64,
}

/// A row. What its kind of board doesn't have is left out.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LeaderboardRow")]
struct Entry<'a> {
    rank: usize,
    #[serde(flatten)]
    clip: Option<ClipEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    username: Option<&'a str>,
    avatar_url: Option<&'a str>,
    vote_count: u32,
    weighted_score: u64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ClipEntry<'a> {
    clip_id: &'a str,
    title: &'a str,
    thumbnail_url: Option<&'a str>,
    season: &'a str,
    slot: u32,
}

impl<'a> Entry<'a> {
    fn new(row: &'a Ranked) -> Self {
        let clip = row.clip.as_ref().map(|clip| ClipEntry {
            clip_id: clip.id.as_str(),
            title: &clip.title,
            thumbnail_url: clip.thumbnail_url.as_deref(),
            season: clip.season.as_str(),
            slot: clip.position,
        });
        Self {
            rank: row.rank,
            clip,
            user_id: row.user_id.as_deref(),
            username: row.username.as_deref(),
            avatar_url: row.avatar_url.as_deref(),
            vote_count: row.score.votes,
            weighted_score: row.score.weight,
        }
    }
}

/// A place in a board's order, as clients carry it.
fn cursor(of: Subject, score: Score) -> String {
    let mut bytes = vec![letter(of)];
    bytes.extend(score.weight.to_be_bytes());
    bytes.extend(score.votes.to_be_bytes());
    bytes.extend(score.last.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor of a board of that kind.
fn read_cursor(of: Subject, text: &str) -> Result<Score, Reject> {
    let wrong = || invalid("cursor", "one that an answer with the same type gave");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    let rest = bytes.strip_prefix(&[letter(of)]).ok_or_else(wrong)?;
    let (weight, rest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (votes, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
    let last: [u8; 8] = rest.try_into().map_err(|_| wrong())?;
    let (weight, votes) = (u64::from_be_bytes(*weight), u32::from_be_bytes(*votes));
    Ok(Score { weight, votes, last: u64::from_be_bytes(last) })
}

fn letter(of: Subject) -> u8 {
    match of {
        Subject::Clips => b'c',
        Subject::Voters => b'v',
        Subject::Creators => b'm',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_on_its_own_kind_of_board_alone() {
        let score = Score { weight: u64::MAX - 3, votes: 70_000, last: 9 };
        for of in [Subject::Clips, Subject::Voters, Subject::Creators] {
            let text = cursor(of, score);
            assert_eq!(read_cursor(of, &text), Ok(score));
            let others = [Subject::Clips, Subject::Voters, Subject::Creators].into_iter().filter(|other| *other != of);
            assert!(others.into_iter().all(|other| read_cursor(other, &text).is_err()));
            for bad in ["", "*", "AAAA", &text[1..], &format!("{text}AAAA")] {
                assert!(read_cursor(of, bad).is_err(), "{bad}");
            }
        }
    }
}
