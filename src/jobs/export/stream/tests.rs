//! Texts that are cut anywhere and gone on with.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    Clip, ClipDraft, ClipId, ClipNo, CommentPost, Event, Profile, Season, SeasonId, SeasonNo, Slot, SlotNo, Vote,
    VoteKind, VoterId, VoterKey,
};
use crate::jobs::export::{Format, LogPart, hex};
use crate::log::{Appender, Recovered, block, recover};
use crate::store::FaultyDisk;

proptest! {
    #[test]
    fn what_is_no_text_comes_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100_000), 0..6)) {
        let mut text = Vec::new();
        let mut lines = Lines { out: &mut text, left: Vec::new() };
        for part in &parts {
            lines.write_all(part).unwrap();
        }
        lines.end().unwrap();
        prop_assert!(text.split(|byte| *byte == b'\n').all(|line| line.len() < LINE_MAX && !is_head(line)));
        prop_assert_eq!(decode_lines(&text).unwrap(), parts.concat());
    }
}
/// A small store: votes, and comments and titles whose lines begin as ours do.
fn source() -> Source {
    let disk = FaultyDisk::new(1);
    let (log, tables) = (disk.open("log"), disk.open("tables"));
    let mut appender = Appender::open(log.clone(), tables.clone(), block::genesis([1; 16])).unwrap();
    let mut add = |event| appender.add(1_700_000_000_000, event).unwrap().unwrap();
    let (season, slot) = (SeasonNo(0), SlotNo(0));
    add(Event::SeasonCreated(Season { no: season, id: SeasonId::new("s").unwrap(), name: "{\"rows\":1}".into() }));
    add(Event::SlotCreated(Slot { no: slot, season, position: 1 }));
    let voter = |n: u32| VoterId([u8::try_from(n % 200).unwrap(); 16]);
    for no in 0..3 {
        let draft = ClipDraft { title: "a\n{\"rows\":5}\n{\"end\":\n\"".into(), ..ClipDraft::default() };
        let id = ClipId::new(&format!("c{no}")).unwrap();
        add(Event::ClipAdded(Box::new(Clip { no: ClipNo(no), slot, id, draft })));
    }
    add(Event::SlotOpened { slot, ends_at: None, hidden: false });
    for n in 0..60 {
        let vote =
            Vote { voter: voter(n), clip: ClipNo(n % 3), slot, kind: VoteKind::Standard, weight: 1, day: 19_675 };
        add(Event::Voted(vote));
        let profile = Profile::cut(Some("Ada"), None);
        let text = format!("{n}\n{{\"table\":\"votes\"}}\n{{\"manifest\":{{}}}}");
        let (clip, author, request) = (ClipNo(n % 3), voter(n), None);
        let post = CommentPost { clip, parent: 0, depth: 0, author, profile, text, held: false, request };
        add(Event::CommentPosted(Box::new(post)));
    }
    appender.finish().unwrap();
    let Recovered { tables, end, .. } = recover(log.as_ref(), tables, block::genesis([1; 16])).unwrap();
    Source {
        tables,
        end,
        log: LogPart::From(0, log),
        key: VoterKey::new([1; 32]),
        store_id: [1; 16],
        secrets: b"voter_key = \"x\" # no line's end".to_vec(),
        scratch: std::env::temp_dir(),
        state: "a-state".into(),
    }
}

/// What a client has, as one that checks all that it can.
#[derive(Default)]
struct Client {
    whole: Vec<(Table, Vec<u8>, u64)>,
    /// The table under way: what came in this text, of which so much is sure, with so many rows.
    now: Option<(Table, Vec<u8>, usize)>,
    /// What was sure of it before this text.
    before: Vec<u8>,
    rows: u64,
    ended: bool,
}

impl Client {
    /// Where it goes on; what is not sure is thrown away.
    fn place(&mut self, pseudonymous: bool) -> Option<Place> {
        if let Some((_, bytes, sure)) = self.now.take() {
            self.before.extend_from_slice(&bytes[..sure]);
        }
        let table = Table::all(pseudonymous).nth(self.whole.len())?;
        Some(Place { table, rows: self.rows })
    }

    fn take(&mut self, line: Line<'_>, format: Format) {
        match line {
            Line::Export { state, .. } => assert_eq!(state, "a-state"),
            Line::Table(table) => self.now = Some((table, Vec::new(), 0)),
            Line::Rows(rows) => {
                let (table, bytes, _) = self.now.as_mut().unwrap();
                let text = table.is_text(format);
                bytes.extend(if text { rows.to_vec() } else { decode_lines(rows).unwrap() });
            }
            Line::Mark { rows, blake3 } => {
                let (table, bytes, sure) = self.now.as_mut().unwrap();
                assert!(table.goes_on(format) && rows > self.rows);
                assert_eq!(blake3, hex(blake3::hash(bytes).as_bytes()));
                (*sure, self.rows) = (bytes.len(), rows);
            }
            Line::End(written) => {
                let (table, bytes, _) = self.now.take().unwrap();
                let hash = hex(blake3::hash(&bytes).as_bytes());
                assert_eq!((written.table, written.bytes, written.blake3), (table, bytes.len() as u64, hash));
                self.whole.push((table, [std::mem::take(&mut self.before), bytes].concat(), written.rows));
                self.rows = 0;
            }
            Line::Manifest(_) => self.ended = true,
        }
    }

    /// Takes a text up to where it is cut, in pieces.
    fn hear(&mut self, text: &[u8], piece: usize, format: Format) {
        let mut splitter = Splitter::default();
        for part in text.chunks(piece) {
            splitter
                .take(part, &mut |line| {
                    self.take(line, format);
                    Ok(())
                })
                .unwrap();
        }
    }
}

fn text(source: &Source, format: Format, pseudonymous: bool, from: Option<Place>) -> Vec<u8> {
    let mut out = Vec::new();
    stream_marked(source, source.manifest(format, pseudonymous), from, 500, &mut out, &mut |_| Ok(())).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Wherever a text is cut, and however often: what is put together is what comes in one.
    #[test]
    fn an_export_that_is_gone_on_with_is_one_that_was_never_cut(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..3000), 1..12), pseudonymous: bool,
    ) {
        let source = source();
        for format in Format::ALL {
            let whole = text(&source, format, pseudonymous, None);
            let mut uncut = Client::default();
            uncut.hear(&whole, whole.len(), format);
            prop_assert!(uncut.ended);
            let mut client = Client::default();
            for (cut, piece) in &cuts {
                let Some(from) = client.place(pseudonymous) else { break };
                let text = text(&source, format, pseudonymous, Some(from));
                client.hear(&text[..cut.index(text.len() + 1)], *piece, format);
            }
            let from = client.place(pseudonymous);
            if let Some(from) = from {
                client.hear(&text(&source, format, pseudonymous, Some(from)), 1000, format);
                prop_assert!(client.ended);
            }
            prop_assert_eq!(&client.whole, &uncut.whole);
        }
    }
}

#[test]
fn what_is_there_is_not_sent_again() {
    let source = source();
    let whole = text(&source, Format::Csv, false, None);
    let from = Place { table: Table::Votes, rows: 50 };
    let rest = String::from_utf8(text(&source, Format::Csv, false, Some(from))).unwrap();
    assert!(rest.len() < whole.len());
    let lines: Vec<&str> = rest.lines().collect();
    assert!(lines[0].ends_with(r#""state":"a-state","about":120,"from":{"table":"votes","rows":50}}"#), "{}", lines[0]);
    assert_eq!(lines[1], r#"{"table":"votes","file":"votes.csv"}"#);
    let rows =
        lines[2..].iter().take_while(|line| !line.starts_with("{\"end\"")).filter(|line| !is_head(line.as_bytes()));
    assert_eq!(rows.count(), 10, "the last ten, and no header");
    // A place behind the table's end is none: the text breaks off.
    let from = Some(Place { table: Table::Votes, rows: 61 });
    let manifest = source.manifest(Format::Csv, false);
    let refused = stream_marked(&source, manifest, from, 500, &mut Vec::new(), &mut |_| Ok(()));
    assert!(refused.unwrap_err().to_string().contains("61 rows were there already"));
}
