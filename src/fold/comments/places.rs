//! Where each comment, and what is derived from it, lies: its place in the order, and that place as a key and back.
//!
//! Keys are fixed: byte order is the order of places. Never: what lies there.

use super::{CommentId, Mark, Queued, Rank, RankKey, Replies};
use crate::codec::Kind;
use crate::domain::{ClipNo, Comment, CommentRef, ModerationQueue, Seq, VoterId};
use crate::fold::ranges::Item;

impl Item for Comment {
    type Key = CommentRef;
    const KIND: Kind = Kind::Comments;
    const LETTER: u8 = b'k';
    const GROUP: usize = 5;

    fn key(&self) -> CommentRef {
        self.place
    }

    fn bytes(at: CommentRef) -> Vec<u8> {
        key(Self::LETTER, &[&at.clip.0.to_be_bytes(), &at.parent.to_be_bytes(), &at.id.to_be_bytes()])
    }

    fn parse(bytes: &[u8]) -> Option<CommentRef> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let at = CommentRef { clip: ClipNo(parts.u32()?), parent: parts.u64()?, id: parts.u64()? };
        parts.end().map(|()| at)
    }

    fn first(at: CommentRef) -> CommentRef {
        CommentRef { parent: 0, id: 0, ..at }
    }
}

impl Item for CommentId {
    type Key = Seq;
    const KIND: Kind = Kind::CommentIds;
    const LETTER: u8 = b'i';
    const GROUP: usize = 1;

    fn key(&self) -> Seq {
        self.place.id
    }

    fn bytes(id: Seq) -> Vec<u8> {
        key(Self::LETTER, &[&id.to_be_bytes()])
    }

    fn parse(bytes: &[u8]) -> Option<Seq> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let id = parts.u64()?;
        parts.end().map(|()| id)
    }

    fn first(_: Seq) -> Seq {
        0
    }
}

impl Item for Mark {
    type Key = (Seq, VoterId);
    const KIND: Kind = Kind::Marks;
    const LETTER: u8 = b'r';
    const GROUP: usize = 1;

    fn key(&self) -> (Seq, VoterId) {
        (self.comment, self.voter)
    }

    fn bytes((comment, voter): (Seq, VoterId)) -> Vec<u8> {
        key(Self::LETTER, &[&comment.to_be_bytes(), &voter.0])
    }

    fn parse(bytes: &[u8]) -> Option<(Seq, VoterId)> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let at = (parts.u64()?, VoterId(parts.take()?));
        parts.end().map(|()| at)
    }

    fn first(_: (Seq, VoterId)) -> (Seq, VoterId) {
        (0, VoterId([0; 16]))
    }
}

impl Item for Rank {
    type Key = RankKey;
    const KIND: Kind = Kind::Ranks;
    const LETTER: u8 = b'o';
    const GROUP: usize = 13;

    fn key(&self) -> RankKey {
        (self.place.clip, self.place.parent, self.likes, self.place.id)
    }

    fn bytes((clip, parent, likes, id): RankKey) -> Vec<u8> {
        let parts: [&[u8]; 4] = [&clip.0.to_be_bytes(), &parent.to_be_bytes(), &likes.to_be_bytes(), &id.to_be_bytes()];
        key(Self::LETTER, &parts)
    }

    fn parse(bytes: &[u8]) -> Option<RankKey> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let at = (ClipNo(parts.u32()?), parts.u64()?, parts.u32()?, parts.u64()?);
        parts.end().map(|()| at)
    }

    fn first((clip, parent, _, _): RankKey) -> RankKey {
        (clip, parent, 0, 0)
    }
}

impl Item for Queued {
    type Key = (ModerationQueue, Seq);
    const KIND: Kind = Kind::Queue;
    const LETTER: u8 = b'q';
    const GROUP: usize = 2;

    fn key(&self) -> (ModerationQueue, Seq) {
        (self.queue, self.place.id)
    }

    fn bytes((queue, id): (ModerationQueue, Seq)) -> Vec<u8> {
        key(Self::LETTER, &[&[queue as u8], &id.to_be_bytes()])
    }

    fn parse(bytes: &[u8]) -> Option<(ModerationQueue, Seq)> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let queue = match parts.take()? {
            [0] => ModerationQueue::Pending,
            [1] => ModerationQueue::Reported,
            [2] => ModerationQueue::Hidden,
            [_] => return None,
        };
        let id = parts.u64()?;
        parts.end().map(|()| (queue, id))
    }

    fn first((queue, _): (ModerationQueue, Seq)) -> (ModerationQueue, Seq) {
        (queue, 0)
    }
}

impl Item for Replies {
    type Key = (ClipNo, Seq);
    const KIND: Kind = Kind::Replies;
    const LETTER: u8 = b'y';
    const GROUP: usize = 5;

    fn key(&self) -> (ClipNo, Seq) {
        (self.clip, self.id)
    }

    fn bytes((clip, id): (ClipNo, Seq)) -> Vec<u8> {
        key(Self::LETTER, &[&clip.0.to_be_bytes(), &id.to_be_bytes()])
    }

    fn parse(bytes: &[u8]) -> Option<(ClipNo, Seq)> {
        let mut parts = Parts::of(Self::LETTER, bytes);
        let at = (ClipNo(parts.u32()?), parts.u64()?);
        parts.end().map(|()| at)
    }

    fn first((clip, _): (ClipNo, Seq)) -> (ClipNo, Seq) {
        (clip, 0)
    }
}

/// A key's parts behind its letter, big-endian.
fn key(letter: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(26);
    key.push(letter);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Takes a key's parts off again; `None` where it is too short, too long or begins with another letter.
struct Parts<'a>(Option<&'a [u8]>);

impl<'a> Parts<'a> {
    fn of(letter: u8, bytes: &'a [u8]) -> Self {
        Self(bytes.strip_prefix(&[letter]))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0?.split_first_chunk::<N>()?;
        self.0 = Some(rest);
        Some(*part)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn end(self) -> Option<()> {
        self.0?.is_empty().then_some(())
    }
}
