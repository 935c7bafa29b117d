//! A whole server over a disk in memory: any bytes on a connection are answered or the connection is closed, and no answer
//! is a 500; a panic of any thread ends the run by itself.

#![no_main]

use std::io::{Read, Write};
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
}

#[derive(Arbitrary, Debug)]
enum Field<'a> {
    Null,
    Bool(bool),
    Number(i64),
    Float(f64),
    Text(&'a str),
    Clip(u8),
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

fn path(of: Path) -> &'static str {
    match of {
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
        Path::Other => "/",
    }
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
    let mut stream = TcpStream::connect(*SERVER).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // The server may close before it has read everything: neither of these is an error of ours then.
    let _ = stream.write_all(&sent);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answered = Vec::new();
    if let Err(why) = stream.read_to_end(&mut answered) {
        assert_eq!(why.kind(), std::io::ErrorKind::ConnectionReset, "an answer or an end, within the timeout: {why}");
    }
    assert!(answered.is_empty() || answered.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answered));
    let failed = answered.windows(13).any(|window| window == b"HTTP/1.1 500 ");
    assert!(!failed, "{}", String::from_utf8_lossy(&answered));
});
