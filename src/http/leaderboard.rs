//! `GET /api/leaderboard` and one's own place on it. The page is the same for everyone who asks and may be cached; the own rank
//! is an answer of its own, and private.

use axum::Extension;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LINK};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};

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
    let hash = blake3::hash(body.to_string().as_bytes()).to_hex();
    let tag = format!("\"{}\"", &hash[..32]);
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|line| names(line.as_bytes(), tag.as_bytes()));
    let mut answer = if known {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut body = body;
        body["asOf"] = found.as_of.to_string().into();
        reply::json(StatusCode::OK, &body)
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
    let mut body = asked.about();
    body["asOf"] = found.as_of.to_string().into();
    body["total"] = found.total.into();
    body["userId"] = found.user_id.into();
    body["rank"] = found.at.map(|(rank, _)| rank).into();
    body["voteCount"] = found.at.map_or(0, |(_, score)| score.votes).into();
    body["weightedScore"] = found.at.map_or(0, |(_, score)| score.weight).into();
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

    fn about(&self) -> Value {
        json!({ "type": self.type_name(), "window": self.window_name(), "season": self.season, "slot": self.slot })
    }

    fn body(&self, found: &Leaderboard, next: Option<&str>) -> Value {
        let mut body = self.about();
        let entries: Vec<_> = found.rows.iter().map(Entry::new).collect();
        body["entries"] = json!(entries);
        body["total"] = found.total.into();
        body["resultsHidden"] = found.hides.into();
        body["nextCursor"] = next.into();
        body["hasMore"] = next.is_some().into();
        body
    }
}

/// A row. What its kind of board doesn't have is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
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

#[derive(Serialize)]
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
