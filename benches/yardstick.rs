//! What plaudit costs beside the least that could do: CPU of the server for a vote and for a slot's clips, against a bare
//! hyper server that verifies the same token, parses the same body and answers a constant.
//!
//!     cargo bench --bench yardstick [-- --ack memory --connections 512]
//!
//! Both are children of this process, driven in turns by the same client on the same connections, and charged by `/proc`;
//! each round's ratio stands by itself, and the bar is held to their median. Wall time is printed and not compared: on a
//! shared machine it says more about the neighbours.
//!
//! With `--ack durable` every flush is charged to the votes that waited for it, so few connections mean few votes a flush
//! and many CPU µs a vote; `--ack memory` shows the path of a vote alone.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use plaudit::cli::bench::load::{Requests, Target, drive};
use plaudit::cli::bench::meter::Meter;
use plaudit::cli::bench::server::Server;
use plaudit::cli::bench::{Minter, process};
use plaudit::config::TokenSettings;
use serde::Deserialize;

/// Both servers have the program's, so that it makes no difference.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SECRET: &str = "the secret of a yardstick, which is public";
/// Many short ones: neighbours come and go within seconds, and what they cost falls on both servers of a round.
const ROUNDS: usize = 12;
const ROUND: Duration = Duration::from_secs(2);

/// How many times the bare server's CPU a request may cost.
const POST_BAR: f64 = 1.6;
const GET_BAR: f64 = 1.3;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |flag: &str| args.iter().position(|arg| arg == flag).and_then(|at| args.get(at + 1));
    if let Some(size) = value("--bare") {
        bare(size.parse().expect("a size, given by the parent"));
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` runs this without the flag; a comparison of unoptimised servers tells nothing.
    if !args.iter().any(|arg| arg == "--bench") {
        println!("yardstick: run it by cargo bench");
        return ExitCode::SUCCESS;
    }
    let connections = value("--connections").map_or(Ok(64), |count| count.parse());
    let compared = connections
        .map_err(Failure::from)
        .and_then(|connections| compare(value("--ack").map_or("durable", String::as_str), connections));
    match compared {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("yardstick: {why}");
            ExitCode::FAILURE
        }
    }
}

fn compare(ack: &str, connections: usize) -> Result<(), Failure> {
    process::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let dir = tempfile::tempdir_in("/var/tmp")?;
    let ours = Server::plaudit(Path::new(env!("CARGO_BIN_EXE_plaudit")), dir.path(), ack, &["--jwt-secret", SECRET])?;
    let (_, slot) = runtime.block_on(ours.target().get("/api/vote"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--bare", &slot.len().to_string()]);
    let bare = Server::start(command)?;

    println!("ack {ack}, {connections} connections, {ROUNDS} rounds of {} s each, CPU µs a request", ROUND.as_secs());
    let posts = |target: &Target| {
        let settings = TokenSettings { jwt_secret: None, jwt_issuer: None, jwt_audience: None };
        let tag = u32::try_from(now_ns() % u128::from(u32::MAX)).expect("below it");
        let exp = u64::try_from(now_ns() / 1_000_000_000).expect("a time of this age") + 86_400;
        target.votes(Minter::new(SECRET.as_bytes(), &settings), &["clip-1".into()], tag, exp)
    };
    let gets = |target: &Target| target.gets("/api/vote");
    ratio(&runtime, "POST /api/vote", [&ours, &bare], connections, &posts, POST_BAR)?;
    ratio(&runtime, "GET /api/vote", [&ours, &bare], connections, &gets, GET_BAR)?;
    Ok(())
}

/// Drives both in turns, and prints the median of the rounds' ratios, with what half of them lie between.
fn ratio(
    runtime: &tokio::runtime::Runtime,
    name: &str,
    servers: [&Server; 2],
    connections: usize,
    requests: &dyn Fn(&Target) -> Requests,
    bar: f64,
) -> Result<(), Failure> {
    let mut cpu = [Vec::new(), Vec::new()];
    let mut rate = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (side, server) in servers.iter().enumerate() {
            let (cost, throughput) = runtime.block_on(round_of(server, connections, &requests(server.target())))?;
            // The first round warms caches, allocators and connections up.
            if round > 0 {
                cpu[side].push(cost);
                rate[side].push(throughput);
            }
        }
    }
    let mut ratios: Vec<f64> = cpu[0].iter().zip(&cpu[1]).map(|(ours, bare)| ours / bare).collect();
    ratios.sort_by(f64::total_cmp);
    let (low, high) = (ratios[ROUNDS / 4], ratios[ROUNDS - 1 - ROUNDS / 4]);
    let ratio = median(ratios);
    let [ours, bare] = cpu.map(median);
    let [our_rate, bare_rate] = rate.map(median);
    let verdict = if ratio <= bar { "within" } else { "OVER" };
    println!(
        "{name:<15} plaudit {ours:6.2} ({our_rate:.0}/s)  bare hyper {bare:6.2} ({bare_rate:.0}/s)  ratio {ratio:.2} ({low:.2} to {high:.2}), {verdict} the bar of {bar}"
    );
    Ok(())
}

/// CPU µs a request, and requests a second.
async fn round_of(server: &Server, connections: usize, requests: &Requests) -> Result<(f64, f64), Failure> {
    let watched = server.watched().ok_or("the server has ended")?;
    let cpu = || watched.cpu().ok_or("the server has ended");
    let before = cpu()?;
    let meter = Meter::start(None, Some(ROUND), None);
    drive(server.target(), connections, &meter, requests).await?;
    let spent = cpu()?.saturating_sub(before);
    let totals = meter.totals();
    if !totals.refused.is_empty() {
        return Err(format!("not all requests succeeded: {:?}", totals.refused).into());
    }
    let count = f64::from(u32::try_from(totals.succeeded)?);
    Ok((spent.as_secs_f64() * 1e6 / count, count / totals.took.as_secs_f64()))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

fn now_ns() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(rename = "clipId")]
    clip: &'a str,
}

struct Bare {
    key: DecodingKey,
    rules: Validation,
    voted: Bytes,
    slot: Bytes,
}

/// The bare server: until its parent ends it.
fn bare(slot_size: usize) {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_required_spec_claims(&["exp", "sub"]);
    let voted = br#"{"success":true,"clipId":"clip-1","voteCount":123456,"weightedScore":123456,"remainingVotes":199,"queuePosition":12,"responseTime":1.234,"async":true,"eventId":"1234567"}"#;
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let state = Arc::new(Bare { key, rules, voted: Bytes::from_static(voted), slot: vec![b'x'; slot_size].into() });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("listening http://{}", listener.local_addr().expect("it is bound"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                // The client leaves when its round ends.
                let _left = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

async fn answer(state: Arc<Bare>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = if request.method() == Method::POST {
        let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let claims = token.and_then(|token| decode::<Claims>(token, &state.key, &state.rules).ok());
        let sub = claims.map(|claims| claims.claims.sub);
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let clip = serde_json::from_slice::<Body<'_>>(&body).map(|body| body.clip.len());
        if std::hint::black_box((sub, clip.ok())).0.is_none() {
            return Ok(Response::builder().status(401).body(Full::default()).expect("a constant"));
        }
        state.voted.clone()
    } else {
        state.slot.clone()
    };
    Ok(Response::builder().header(CONTENT_TYPE, "application/json").body(Full::new(body)).expect("a constant"))
}
