//! A whole server over a disk in memory: any bytes on a connection are answered or the connection is closed, and no answer
//! is a 500; a panic of any thread ends the run by itself.

#![no_main]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use plaudit::admission::{Admission, AdmissionOptions};
use plaudit::clock::{Clock, ManualClock};
use plaudit::domain::{ClipDraft, ClipId, SeasonId, VoterKey};
use plaudit::engine::{Engine, Settings};
use plaudit::http::{App, AppOptions, ServeOptions, serve};
use plaudit::identity::{Identity, IdentityOptions};
use plaudit::store::FaultyDisk;

const NOW_MS: u64 = 1_700_000_000_000;
/// What ends a connection whose requests are whole.
const LAST: &[u8] = b"GET /livez HTTP/1.1\r\nhost: fuzz\r\nconnection: close\r\n\r\n";
/// Answers come sooner, if they come.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Arbitrary, Debug)]
enum Part<'a> {
    Raw(&'a [u8]),
    Request { method: Method, path: Path, tail: &'a str, headers: Vec<Header<'a>>, body: Body<'a> },
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Path {
    Vote,
    Counts,
    Mine,
    Limit,
    Queue,
    Cron,
    Seasons,
    Season,
    Admin,
    AdminSlots,
    AdminSlot,
    Ban,
    Bans,
    Comments,
    CommentCounts,
    Comment(u8),
    Like(u8),
    Report(u8),
    Moderation,
    AdminVotes,
    Judge { id: u8, approve: bool },
    Other,
}

#[derive(Arbitrary, Debug)]
enum Header<'a> {
    Admin,
    Cron,
    Json,
    Key(&'a str),
    Match(&'a str),
    Forwarded(&'a str),
    Accept(&'a str),
    Chunked,
    Any(&'a str, &'a str),
}

#[derive(Arbitrary, Debug)]
enum Body<'a> {
    None,
    Vote { clip: u8, kind: Option<&'a str> },
    Fields(Vec<(Name, Field<'a>)>),
    Raw(&'a [u8]),
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Name {
    ClipId,
    VoteType,
    Id,
    Name,
    Position,
    Title,
    OwnerId,
    VideoUrl,
    ResultsHidden,
    VotingEndsAt,
    Reason,
    Until,
    Content,
    ParentId,
}

#[derive(Arbitrary, Debug)]
enum Field<'a> {
    Null,
    Bool(bool),
    Number(i64),
    Float(f64),
    Text(&'a str),
    Clip(u8),
    Comment(u8),
}

fn method(of: Method) -> &'static str {
    match of {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
    }
}

fn path(of: Path) -> String {
    let plain = match of {
        Path::Comment(id) => return format!("/api/comments/{id}"),
        Path::Like(id) => return format!("/api/comments/{id}/like"),
        Path::Report(id) => return format!("/api/comments/{id}/report"),
        Path::Judge { id, approve: true } => return format!("/api/admin/comments/{id}/approve"),
        Path::Judge { id, approve: false } => return format!("/api/admin/comments/{id}/hide"),
        Path::Vote => "/api/vote",
        Path::Counts => "/api/vote/counts?clipIds=",
        Path::Mine => "/api/vote/mine?clipIds=",
        Path::Limit => "/api/vote/limit",
        Path::Queue => "/api/queue",
        Path::Cron => "/api/cron/process-vote-queue",
        Path::Seasons => "/api/seasons",
        Path::Season => "/api/seasons/s/slots/",
        Path::Admin => "/api/admin/seasons",
        Path::AdminSlots => "/api/admin/seasons/s/slots",
        Path::AdminSlot => "/api/admin/seasons/s/slots/1/",
        Path::Ban => "/api/admin/bans/",
        Path::Bans => "/api/admin/bans",
        Path::Comments => "/api/comments",
        Path::CommentCounts => "/api/comments/count?clipIds=",
        Path::Moderation => "/api/admin/comments?status=",
        Path::AdminVotes => "/api/admin/votes?flagged=1&cursor=",
        Path::Other => "/",
    };
    plain.to_owned()
}

fn name(of: Name) -> &'static str {
    match of {
        Name::ClipId => "clipId",
        Name::VoteType => "voteType",
        Name::Id => "id",
        Name::Name => "name",
        Name::Position => "position",
        Name::Title => "title",
        Name::OwnerId => "ownerId",
        Name::VideoUrl => "videoUrl",
        Name::ResultsHidden => "resultsHidden",
        Name::VotingEndsAt => "votingEndsAt",
        Name::Reason => "reason",
        Name::Until => "until",
        Name::Content => "content",
        Name::ParentId => "parentId",
    }
}

fn body(of: &Body<'_>) -> Vec<u8> {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    match of {
        Body::None => Vec::new(),
        Body::Raw(bytes) => bytes.to_vec(),
        Body::Vote { clip, kind: None } => format!("{{\"clipId\":\"c{}\"}}", clip % 4).into_bytes(),
        Body::Vote { clip, kind: Some(kind) } => {
            format!("{{\"clipId\":\"c{}\",\"voteType\":{}}}", clip % 4, text(kind)).into_bytes()
        }
        Body::Fields(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let value = match value {
                    Field::Null => "null".to_owned(),
                    Field::Bool(yes) => yes.to_string(),
                    Field::Number(number) => number.to_string(),
                    Field::Float(number) => number.to_string(),
                    Field::Text(value) => text(value),
                    Field::Clip(clip) => format!("\"c{}\"", clip % 8),
                    Field::Comment(id) => format!("\"{id}\""),
                };
                format!("\"{}\":{value}", name(*key))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(",")).into_bytes()
        }
    }
}

fn write(part: &Part<'_>, into: &mut Vec<u8>) {
    let (verb, at, tail, headers, content) = match part {
        Part::Raw(bytes) => return into.extend_from_slice(bytes),
        Part::Request { method: verb, path: at, tail, headers, body: content } => (verb, at, tail, headers, content),
    };
    let content = body(content);
    let mut put = |text: &str| into.extend_from_slice(text.as_bytes());
    put(&format!("{} {}{tail} HTTP/1.1\r\nhost: fuzz\r\n", method(*verb), path(*at)));
    let mut chunked = false;
    for header in headers.iter().take(8) {
        match header {
            Header::Admin => put("authorization: Bearer admin\r\n"),
            Header::Cron => put("authorization: Bearer cron\r\n"),
            Header::Json => put("content-type: application/json\r\n"),
            Header::Key(key) => put(&format!("idempotency-key: {key}\r\n")),
            Header::Match(tag) => put(&format!("if-none-match: {tag}\r\n")),
            Header::Forwarded(chain) => put(&format!("x-forwarded-for: {chain}\r\n")),
            Header::Accept(types) => put(&format!("accept: {types}\r\n")),
            Header::Chunked => chunked = true,
            Header::Any(key, value) => put(&format!("{key}: {value}\r\n")),
        }
    }
    if chunked {
        put(&format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", content.len()));
        into.extend_from_slice(&content);
        into.extend_from_slice(if content.is_empty() { b"\r\n" } else { b"\r\n0\r\n\r\n" });
    } else {
        put(&format!("content-length: {}\r\n\r\n", content.len()));
        into.extend_from_slice(&content);
    }
}

/// The server's address. It runs until the process ends.
static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW_MS));
    let voter_key = VoterKey::new([1; 32]);
    let settings =
        Settings { daily_limit: u32::MAX, reconcile_every_s: 0, ..Settings::new("unused", voter_key.clone()) };
    let disk = FaultyDisk::new(1);
    let engine = Engine::over(settings, Arc::clone(&clock), disk.open("log"), disk.open("tables")).expect("a store");
    runtime.block_on(stage(&engine));
    let identity = Identity::new(IdentityOptions {
        jwt_secret: b"secret".to_vec(),
        jwt_issuer: None,
        jwt_audience: None,
        cookie_key: [2; 32],
        voter_key,
        devices_per_network: u32::MAX,
    });
    let options = AppOptions {
        admin_token: Some(b"admin".to_vec()),
        cron_secret: Some(b"cron".to_vec()),
        anonymous_comments: true,
        ..AppOptions::default()
    };
    let app = App::new(engine, identity, Admission::new(AdmissionOptions::off(), &clock), options);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let limits = ServeOptions { max_connections: 100, ..ServeOptions::default() };
        runtime.block_on(serve(listener, app, limits, std::future::pending())).expect("it serves");
    });
    address
});

async fn stage(engine: &Engine) {
    engine.create_season(Some(SeasonId::new("s").expect("an id")), "S".into()).await.expect("a season");
    engine.create_slot("s", None).await.expect("a slot");
    for n in 0..4 {
        let draft = ClipDraft { title: "Clip".into(), ..ClipDraft::default() };
        let id = ClipId::new(&format!("c{n}")).expect("an id");
        engine.add_clip("s", 1, Some(id), draft).await.expect("a clip");
    }
    engine.open_slot("s", 1, None, false).await.expect("it opens");
}

fuzz_target!(|parts: Vec<Part<'_>>| {
    let mut sent = Vec::new();
    for part in parts.iter().take(4) {
        write(part, &mut sent);
    }
    sent.extend_from_slice(LAST);
    let mut stream = TcpStream::connect(*SERVER).expect("the server accepts");
    stream.set_read_timeout(Some(PAUSE)).expect("a timeout");
    // The server may close before it has read everything: that is no error of ours then, here and below.
    let _ = stream.write_all(&sent);
    let (mut answered, mut part, mut left) = (Vec::new(), [0; 4096], false);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answered.extend_from_slice(&part[..read]),
            // It waits for the rest of a request, or its answer has no end. Not before: who ends its side has left, and what
            // it asked for is answered no more.
            Err(why) if !left && matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                left = true;
                let _ = stream.shutdown(Shutdown::Write);
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            }
            Err(why) => {
                assert_eq!(why.kind(), ErrorKind::ConnectionReset, "an answer or an end, within the timeout: {why}");
                break;
            }
        }
    }
    assert!(answered.is_empty() || answered.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answered));
    let failed = answered.windows(13).any(|window| window == b"HTTP/1.1 500 ");
    assert!(!failed, "{}", String::from_utf8_lossy(&answered));
});
