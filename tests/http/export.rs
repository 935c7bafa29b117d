//! An export over HTTP that breaks off, and is gone on with while votes go on.

use std::collections::BTreeMap;

use plaudit::domain::VoteKind;
use plaudit::engine::KEPT_MS;
use plaudit::jobs::export::{Format, Line, Manifest, Place, Splitter, Table, decode_lines};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{ADMIN, TestServer, until};

/// What came of an export: of each table its bytes, and where whole rows end last.
struct Came {
    sequence: u64,
    state: String,
    from: Option<Place>,
    format: Format,
    tables: BTreeMap<Table, Vec<u8>>,
    /// The table under way, with so many rows in so many bytes that are whole.
    now: Option<(Table, u64, usize)>,
    ended: Option<Manifest>,
}

impl Came {
    fn of(text: &[u8]) -> Self {
        let (state, tables, format) = (String::new(), BTreeMap::new(), Format::Jsonl);
        let mut came = Self { sequence: 0, state, from: None, format, tables, now: None, ended: None };
        let mut take = |line: Line<'_>| {
            match line {
                Line::Export { manifest, state, from, .. } => {
                    (came.sequence, came.state, came.from) = (manifest.sequence, state, from);
                    came.format = manifest.format;
                }
                Line::Table(table) => came.now = Some((table, 0, 0)),
                Line::Rows(rows) => came.tables.entry(came.now.unwrap().0).or_default().extend_from_slice(rows),
                Line::Mark { rows, .. } => {
                    let table = came.now.unwrap().0;
                    came.now = Some((table, rows, came.tables[&table].len()));
                }
                Line::End(written) => {
                    let rows = came.tables.entry(written.table).or_default();
                    if !written.table.is_text(came.format) {
                        *rows = decode_lines(rows).unwrap();
                    }
                    assert_eq!(
                        (rows.len() as u64, blake3::hash(rows).to_hex().as_str()),
                        (written.bytes, written.blake3.as_str())
                    );
                }

                Line::Manifest(manifest) => came.ended = Some(manifest),
            }
            Ok(())
        };
        Splitter::default().take(text, &mut take).unwrap();
        came
    }
}

fn path(state: &str, table: &str, rows: u64) -> String {
    format!("/api/admin/export?state={state}&table={table}&rows={rows}")
}

async fn export(server: &TestServer, path: &str) -> Came {
    let answer = server.call("GET", path).header("authorization", ADMIN).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    Came::of(&answer.body)
}

/// Asks for an export, takes so many bytes of it, and leaves.
async fn broken_off(server: &TestServer, path: &str, bytes: usize) -> Came {
    let mut stream = server.connect().await;
    // HTTP/1.0: the body as it is, up to the end.
    let request = format!("GET {path} HTTP/1.0\r\nhost: test\r\nauthorization: {ADMIN}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut came = Vec::new();
    while came.len() < bytes {
        assert!(stream.read_buf(&mut came).await.unwrap() > 0, "there is more");
    }
    let body = came.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    Came::of(&came[body..])
}

async fn votes(server: &TestServer, voters: std::ops::Range<u32>) {
    let key = &server.engine.settings().voter_key;
    let mut tasks = tokio::task::JoinSet::new();
    for who in voters {
        let (engine, voter, clip) = (server.engine.clone(), key.user(&who.to_string()), format!("c{}", who % 3));
        tasks.spawn(async move { engine.vote(voter, &clip, VoteKind::Standard).await.map(drop) });
    }
    while let Some(voted) = tasks.join_next().await {
        voted.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_breaks_off_goes_on_at_the_same_moment_until_the_time_is_over() {
    let server = TestServer::staged(3).await;
    for from in (0..12_000).step_by(1_000) {
        votes(&server, from..from + 1_000).await;
    }
    let first = broken_off(&server, "/api/admin/export", 4_000_000).await;
    let (table, rows, bytes) = first.now.unwrap();
    assert!(first.from.is_none() && first.ended.is_none() && rows > 1_000, "in the midst of {table:?} {rows}");
    votes(&server, 12_000..12_100).await;
    let rest = export(&server, &path(&first.state, table.name(), rows)).await;
    assert_eq!((rest.sequence, &rest.state, rest.from), (first.sequence, &first.state, Some(Place { table, rows })));
    votes(&server, 12_100..12_200).await;
    // Of the same moment, from its beginning: what the two parts should come to.
    let whole = export(&server, &path(&first.state, "secrets", 0)).await;
    assert_eq!((whole.sequence, whole.ended.as_ref().unwrap().tables.len()), (first.sequence, 9));
    for (of, bytes_of) in &whole.tables {
        let mut parts = first.tables.get(of).cloned().unwrap_or_default();
        if *of == table {
            parts.truncate(bytes);
        }
        if *of >= table {
            parts.extend_from_slice(&rest.tables[of]);
        }
        assert!(parts == *bytes_of, "{of:?} is not put together");
    }
    assert_eq!(whole.ended.unwrap().tables.iter().find(|written| written.table == Table::Votes).unwrap().rows, 12_000);
    // What the rest says of itself is what it sent.
    let said: Vec<Table> = rest.ended.unwrap().tables.iter().map(|written| written.table).collect();
    assert_eq!(said, Table::ALL.into_iter().filter(|of| *of >= table).collect::<Vec<_>>());

    // Once the time is over it is an export of now, from the beginning: the client needs no path of its own for that.
    assert!(server.engine.holds_tables());
    until("the tables are let go", async || {
        // Its time begins with the end of the last who read it, which is noticed when the connection is.
        server.clock.advance(KEPT_MS);
        !server.engine.holds_tables()
    })
    .await;
    let anew = export(&server, &path(&first.state, table.name(), rows)).await;
    assert!(anew.from.is_none() && anew.sequence > first.sequence && anew.state != first.state);
    let written = anew.ended.unwrap();
    assert_eq!(written.tables.iter().find(|written| written.table == Table::Votes).unwrap().rows, 12_200);

    // A backup takes the tables from what is only kept, and an export that was kept is gone then.
    assert!(server.engine.holds_tables());
    until("nobody reads them any more", async || {
        server.call("GET", "/api/admin/backup").header("authorization", ADMIN).send().await.status == 200
    })
    .await;
    votes(&server, 12_200..12_201).await;
    assert!(export(&server, &path(&anew.state, "votes", 7)).await.from.is_none());
}

#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let server = TestServer::staged(1).await;
    let refused = async |query: &str| {
        let path = format!("/api/admin/export?{query}");
        let answer = server.call("GET", &path).header("authorization", ADMIN).send().await;
        answer.refuses(400, "INVALID_PARAMETER")
    };
    for query in [
        "table=votes",
        "rows=1",
        "state=x",
        "state=x&table=nothing",
        "state=x&table=votes&rows=-1",
        "state=x&table=votes&rows=+1",
        "state=x&table=secrets&rows=1",
        "state=x&table=votes&rows=1&format=parquet",
        "state=x&table=records&pseudonymous=1",
    ] {
        refused(query).await;
    }
    server.call("GET", &path("x", "votes", 1)).send().await.refuses(401, "UNAUTHORIZED");
    // A state that nobody knows: all of it.
    let whole = export(&server, &path("x", "votes", 1)).await;
    assert!(whole.from.is_none() && whole.ended.is_some());
    // Nothing has happened since: it is the same, kept or not.
    server.call("GET", "/api/admin/backup").header("authorization", ADMIN).send().await;
    let rest = export(&server, &path(&whole.state, "clips", 1)).await;
    assert_eq!(rest.from, Some(Place { table: Table::Clips, rows: 1 }));
    assert!(!rest.tables.contains_key(&Table::Seasons) && rest.tables[&Table::Clips].is_empty(), "it has one clip");
    let parquet = export(&server, &format!("{}&format=parquet", path(&whole.state, "votes", 0))).await;
    assert_eq!(parquet.from.map(|from| from.table), Some(Table::Votes));
    assert_eq!(parquet.ended.unwrap().format, Format::Parquet);
}
