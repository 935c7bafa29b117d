//! What voters leave of themselves, each trace told apart from all others, and that no byte of either store holds one.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use plaudit::domain::{CommentText, NetworkHash, Profile, RequestKey};
use plaudit::engine::CommentDraft;
use plaudit::store::{FaultyDisk, Store};

use crate::STEPS;
use crate::support::{key, voter};

pub(crate) fn network(who: u64) -> NetworkHash {
    NetworkHash::of(key().user(&format!("network {who}")).0[..8].try_into().unwrap())
}

pub(crate) fn name(who: u64) -> String {
    format!("Name-{who}-of-somebody")
}

pub(crate) fn avatar(who: u64) -> String {
    format!("https://example.org/face-{who}.png")
}

pub(crate) fn text(who: u64) -> String {
    format!("words that voter {who} wrote")
}

pub(crate) fn request(who: u64, n: u64) -> RequestKey {
    RequestKey { key: key().user(&format!("request {who} {n}")).0, body: [9; 16] }
}

/// A comment that has all of a voter's traces, but for a request.
pub(crate) fn comment(who: u64, clip: &str) -> CommentDraft<'_> {
    CommentDraft {
        clip,
        parent: None,
        author: voter(who),
        profile: Profile::cut(Some(&name(who)), Some(&avatar(who))),
        text: CommentText::new(&text(who)).unwrap(),
        request: None,
    }
}

/// Everything that a store holds, key and value.
pub(crate) fn bytes(store: &dyn Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let visit = &mut |key: &[u8], value: &plaudit::store::Value| {
        all.push((key.to_vec(), value.to_vec()));
        Ok(ControlFlow::Continue(()))
    };
    store.scan(&[0], &[0xff; 32], visit).unwrap();
    all
}

/// That nothing in either store is of these voters.
pub(crate) fn nothing_is_left(disk: &FaultyDisk, gone: &BTreeSet<u64>) {
    for tree in ["log", "tables"] {
        for (key, value) in bytes(disk.open(tree).as_ref()) {
            let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
            for who in gone {
                let mut traces: Vec<(String, Vec<u8>)> = vec![
                    ("id".into(), voter(*who).0.to_vec()),
                    ("network".into(), network(*who).bytes().to_vec()),
                    ("name".into(), name(*who).into_bytes()),
                    ("picture".into(), avatar(*who).into_bytes()),
                    ("text".into(), text(*who).into_bytes()),
                ];
                traces.extend((0..STEPS as u64).map(|n| ("request".into(), request(*who, n).key.to_vec())));
                for (what, part) in traces {
                    let found = has(&key, &part) || has(&value, &part);
                    assert!(!found, "the {what} of voter {who} is in {tree}, under {:?} {key:?}", char::from(key[0]));
                }
            }
        }
    }
}
