//! `verify`'s part about comments: every page read, and what is derived from comments counted anew from them.
//!
//! Keeps about a hundred bytes a comment while it runs.

use std::collections::{BTreeMap, HashMap};

use super::verify::Verified;
use crate::domain::{Clip, ClipNo, CommentRef, DEPTH_MAX, ModerationQueue, Seq};
use crate::error::Fault;
use crate::fold::Tables;
use crate::fold::comments::{LIKED, REPORTED};

/// A comment, and what was found of it elsewhere.
#[derive(Debug)]
struct Known {
    place: CommentRef,
    depth: u8,
    visible: bool,
    queue: Option<ModerationQueue>,
    likes: u32,
    reports: u32,
    liked: u32,
    reported: u32,
    ids: u32,
    ranks: u32,
    queued: u32,
    replies: u32,
}

/// Recounts all comments; gives every clip's count. `repair` puts a clip's stored count right.
pub(super) fn recount(
    tables: &mut Tables,
    clips: &[Clip],
    found: &mut Verified,
    repair: bool,
) -> Result<BTreeMap<ClipNo, u64>, Fault> {
    let mut known: HashMap<Seq, Known> = HashMap::new();
    let mut counted: BTreeMap<ClipNo, u64> = BTreeMap::new();
    tables.each_comment(|comment| {
        let place = comment.place;
        if clips.get(place.clip.index()).is_none() {
            found.note(format!("comment {}: its clip does not exist", place.id));
        }
        let visible = comment.is_visible();
        *counted.entry(place.clip).or_default() += u64::from(visible);
        let (likes, reports, depth, queue) = (comment.likes, comment.reports, comment.depth, comment.queue());
        let one = Known {
            place,
            depth,
            visible,
            queue,
            likes,
            reports,
            liked: 0,
            reported: 0,
            ids: 0,
            ranks: 0,
            queued: 0,
            replies: 0,
        };
        if known.insert(place.id, one).is_some() {
            found.note(format!("comment {}: it is there twice", place.id));
        }
        Ok(())
    })?;
    check_threads(&mut known, found);
    each_derived(tables, &mut known, found)?;

    let mut stored_replies: HashMap<Seq, u32> = HashMap::new();
    tables.each_replies(|replies| {
        if replies.visible > replies.ever || !known.contains_key(&replies.id) {
            found.note(format!("comment {}: its count of replies contradicts itself", replies.id));
        }
        stored_replies.insert(replies.id, replies.visible);
        Ok(())
    })?;
    let mut ids: Vec<Seq> = known.keys().copied().collect();
    ids.sort_unstable();
    for id in ids {
        let one = &known[&id];
        let replies = stored_replies.get(&id).copied().unwrap_or(0);
        let counts = [("likes", one.likes, one.liked), ("visible replies", replies, one.replies)];
        for (what, stored, recounted) in counts.into_iter().filter(|(_, stored, recounted)| stored != recounted) {
            found.note(format!("comment {id}: stored {stored} {what}, recounted {recounted}"));
        }
        if one.reports > one.reported {
            found.note(format!("comment {id}: stored {} reports, only {} voters made one", one.reports, one.reported));
        }
        let places = [("by its id", one.ids, 1), ("by its likes", one.ranks, 1)];
        let waits = ("in the moderators' queue", one.queued, u32::from(one.queue.is_some()));
        for (what, times, wanted) in places.into_iter().chain([waits]).filter(|(_, times, wanted)| times != wanted) {
            found.note(format!("comment {id}: it is found {times} times {what}, and should be {wanted} times"));
        }
    }

    let mut stored: BTreeMap<ClipNo, u64> = BTreeMap::new();
    tables.each_comment_count(|clip, count| {
        stored.insert(clip, count);
    })?;
    for clip in clips {
        let recounted = counted.get(&clip.no).copied().unwrap_or(0);
        let kept = stored.get(&clip.no).copied().unwrap_or(0);
        if recounted != kept {
            found.note(format!("clip {}: stored {kept} comments, recounted {recounted}", clip.id));
            if repair {
                tables.repair_comment_count(clip.no, recounted)?;
                found.repaired += 1;
            }
        }
    }
    Ok(counted)
}

/// A reply lies below a comment of its clip, one deeper; counts visible replies.
fn check_threads(known: &mut HashMap<Seq, Known>, found: &mut Verified) {
    let replies: Vec<(CommentRef, u8, bool)> =
        known.values().map(|one| (one.place, one.depth, one.visible)).filter(|(at, ..)| at.parent != 0).collect();
    for (place, depth, visible) in replies {
        match known.get_mut(&place.parent) {
            Some(parent) if parent.place.clip == place.clip && parent.depth + 1 == depth && depth <= DEPTH_MAX => {
                parent.replies += u32::from(visible);
            }
            _ => found.note(format!("comment {}: it is no reply to comment {}", place.id, place.parent)),
        }
    }
}

/// Looks each derived record's comment up.
fn each_derived(tables: &Tables, known: &mut HashMap<Seq, Known>, found: &mut Verified) -> Result<(), Fault> {
    let stray = |what: &str, id: Seq| format!("comment {id}: {what} says what its page does not");
    tables.each_comment_id(|id| {
        match known.get_mut(&id.place.id).filter(|one| one.place == id.place) {
            Some(one) => one.ids += 1,
            None => found.note(stray("the page of ids", id.place.id)),
        }
        Ok(())
    })?;
    tables.each_mark(|mark| {
        match known.get_mut(&mark.comment) {
            Some(one) => {
                one.liked += u32::from(mark.set & LIKED != 0);
                one.reported += u32::from(mark.set & REPORTED != 0);
            }
            None => found.note(stray("a like or report", mark.comment)),
        }
        Ok(())
    })?;
    tables.each_rank(|rank| {
        match known.get_mut(&rank.place.id).filter(|one| (one.place, one.likes) == (rank.place, rank.likes)) {
            Some(one) => one.ranks += 1,
            None => found.note(stray("its rank", rank.place.id)),
        }
        Ok(())
    })?;
    tables.each_queued(|queued| {
        let fits = |one: &&mut Known| (one.place, one.queue) == (queued.place, Some(queued.queue));
        match known.get_mut(&queued.place.id).filter(fits) {
            Some(one) => one.queued += 1,
            None => found.note(stray("the moderators' queue", queued.place.id)),
        }
        Ok(())
    })
}
