//! The answer to a vote that stands, and to a retraction: its shape, and its text, which is written by hand. serde's way, which
//! escapes every key anew, costs several times as much, on the path of every vote; a test holds the one to the other.
//!
//! It is begun before the vote is cast, with the clip that was named: so the id is copied but once, and the engine is asked by that
//! copy. Never decides anything.

use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;

use crate::engine::Receipt;

const BEGINNING: &str = r#"{"success":true,"clipId":""#;
/// Bytes of all that follows on a clip's id, with numbers of the usual length.
const REST: usize = 192;

/// What became of a vote or a retraction.
#[derive(JsonSchema)]
#[cfg_attr(test, derive(serde::Serialize))]
#[cfg_attr(not(test), expect(dead_code, reason = "the document shows it, and tests write it"))]
#[serde(rename_all = "camelCase")]
pub(super) struct Voted<'a> {
    success: bool,
    clip_id: &'a str,
    /// Null while results are hidden.
    vote_count: Option<u64>,
    /// Null while results are hidden.
    weighted_score: Option<u64>,
    /// Weight that is left today.
    remaining_votes: u32,
    /// Events that were queued when this one was, itself included.
    queue_position: u64,
    /// Milliseconds.
    response_time: f64,
    /// The tables follow in the background.
    #[serde(rename = "async")]
    async_: bool,
    /// The event's sequence in the log, in decimal digits.
    event_id: String,
}

/// A clip as a request names it, at the beginning of the answer that it may come to.
#[derive(Debug)]
pub(super) struct Named(String);

impl Named {
    /// Begins the answer. `clip` is whatever a client sent.
    pub(super) fn new(clip: &str) -> Self {
        let mut text = String::with_capacity(BEGINNING.len() + clip.len() + REST);
        text.push_str(BEGINNING);
        // As it is: whoever named no clip that exists gets no such answer, and ids of clips need no escaping.
        text.push_str(clip);
        Self(text)
    }

    /// What was sent.
    pub(super) fn id(&self) -> &str {
        &self.0[BEGINNING.len()..]
    }

    /// The whole answer, once the vote is settled.
    pub(super) fn voted(self, receipt: &Receipt, took: Duration) -> Bytes {
        let Self(mut text) = self;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        put(&mut text, r#"","voteCount":"#, receipt.counts.map(|counts| counts.votes));
        put(&mut text, r#","weightedScore":"#, receipt.counts.map(|counts| counts.weight));
        put(&mut text, r#","remainingVotes":"#, Some(receipt.remaining.into()));
        put(&mut text, r#","queuePosition":"#, Some(receipt.queue_position));
        put(&mut text, r#","responseTime":"#, Some((micros / 1000).into()));
        text.push('.');
        // Three digits: those of a number that begins with a 1, so that none is left out.
        text.push_str(&itoa::Buffer::new().format(1000 + micros % 1000)[1..]);
        put(&mut text, r#","async":true,"eventId":""#, Some(receipt.seq));
        text.push_str(r#""}"#);
        text.into()
    }
}

fn put(text: &mut String, name: &str, number: Option<u64>) {
    text.push_str(name);
    match number {
        Some(number) => text.push_str(itoa::Buffer::new().format(number)),
        None => text.push_str("null"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::Counts;

    fn by_hand(clip: &str, receipt: &Receipt, micros: u64) -> Value {
        serde_json::from_slice(&Named::new(clip).voted(receipt, Duration::from_micros(micros))).unwrap()
    }

    fn by_serde(clip: &str, receipt: &Receipt, micros: u32) -> Value {
        let voted = Voted {
            success: true,
            clip_id: clip,
            vote_count: receipt.counts.map(|counts| counts.votes),
            weighted_score: receipt.counts.map(|counts| counts.weight),
            remaining_votes: receipt.remaining,
            queue_position: receipt.queue_position,
            response_time: f64::from(micros) / 1000.0,
            async_: true,
            event_id: receipt.seq.to_string(),
        };
        serde_json::to_value(voted).unwrap()
    }

    proptest! {
        #[test]
        fn the_text_is_what_serde_would_write(
            clip in "[A-Za-z0-9_.=@-]{1,100}",
            counts in proptest::option::of(any::<(u64, u64)>()),
            (seq, remaining, queue_position) in any::<(u64, u32, u64)>(),
            (micros, shift) in (any::<u32>(), 0_u32..32),
        ) {
            let counts = counts.map(|(votes, weight)| Counts { votes, weight });
            let receipt = Receipt { seq, counts, remaining, queue_position };
            let micros = micros >> shift;
            prop_assert_eq!(by_hand(&clip, &receipt, micros.into()), by_serde(&clip, &receipt, micros));
        }
    }

    #[test]
    fn the_answer_has_the_contracts_fields() {
        let receipt = Receipt {
            seq: 9_007_199_254_740_993,
            counts: Some(Counts { votes: 3, weight: 14 }),
            remaining: 190,
            queue_position: 2,
        };
        let expected = json!({
            "success": true, "clipId": "clip-1", "voteCount": 3, "weightedScore": 14, "remainingVotes": 190,
            "queuePosition": 2, "responseTime": 1.05, "async": true, "eventId": "9007199254740993"
        });
        assert_eq!(by_hand("clip-1", &receipt, 1_050), expected);
        let hidden = by_hand("clip-1", &Receipt { counts: None, ..receipt }, u64::MAX);
        assert_eq!((&hidden["voteCount"], &hidden["weightedScore"]), (&Value::Null, &Value::Null));
        assert_eq!(hidden["responseTime"], 4_294_967.295);
    }

    #[test]
    fn what_a_client_names_is_given_on_as_it_is() {
        for clip in ["clip-1", "", "no \"clip\" at all", "ü"] {
            assert_eq!(Named::new(clip).id(), clip);
        }
    }
}
