//! `GET /api/vote`: a slot's clips and counts, rendered once a version and then handed out as they are.
//!
//! Never sets a cookie: shared caches keep these answers. What is cached here is bounded in slots and bytes, and a body
//! never depends on who asks.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use http_body_util::Full;
use parking_lot::RwLock;

use super::query::{Query, invalid};
use super::reply::Whole;
use super::view::ClipBody;
use super::{App, compress, etag, front, reply};
use crate::domain::{SeasonId, SlotNo};
use crate::engine::SlotClips;
use crate::error::Reject;

pub(super) const FRESH: HeaderValue = HeaderValue::from_static("public, max-age=5, stale-while-revalidate=10");
const SLOTS_MAX: usize = 256;
const BYTES_MAX: usize = 32 << 20;

/// Answers with the slot's clips, or 304 when the client has them.
pub(super) fn answer(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<Whole, Reject> {
    let query = Query::of(uri);
    let position = query.position("slot")?;
    let season = query.get("season")?;
    let found = app.engine().slot_version(season.as_deref(), position);
    let (slot, version) = found.map_err(|reject| match season.as_deref().map(SeasonId::new) {
        // Looked at on the way out alone: an id that exists is a good one.
        Some(Err(_)) => invalid("season", "an id is 1 to 100 of A-Z a-z 0-9 _ . = @ -"),
        _ => reject,
    })?;
    let page = match app.0.slots.get(slot, version) {
        Some(page) => page,
        None => app.0.slots.put(slot, &app.engine().slot_clips(slot)),
    };
    let mut answer = Response::new(Full::default());
    answer.headers_mut().clone_from(&page.headers);
    if etag::is_known(headers, &page.etag) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer.headers_mut().remove(CONTENT_TYPE);
    } else {
        *answer.body_mut() = Full::new(page.body.clone());
    }
    Ok(answer)
}

/// The latest page of each slot that was asked for.
#[derive(Default)]
pub(super) struct Rendered(RwLock<Pages>);

#[derive(Default)]
struct Pages {
    of: HashMap<SlotNo, Arc<Page>>,
    bytes: usize,
}

struct Page {
    version: u64,
    body: Bytes,
    etag: HeaderValue,
    /// What goes out with it, copied as a whole: that costs half of what putting one header after the other does.
    headers: HeaderMap,
}

impl Rendered {
    fn get(&self, slot: SlotNo, version: u64) -> Option<Arc<Page>> {
        self.0.read().of.get(&slot).filter(|page| page.version == version).cloned()
    }

    /// Renders outside the lock. Two requests may render the same version at once, to the same bytes.
    fn put(&self, slot: SlotNo, clips: &SlotClips) -> Arc<Page> {
        let page = Arc::new(Page::of(clips));
        if page.body.len() > BYTES_MAX / 4 {
            return page;
        }
        let mut pages = self.0.write();
        pages.take(slot);
        while pages.of.len() >= SLOTS_MAX || pages.bytes + page.body.len() > BYTES_MAX {
            // Any other will do: a page that is missed costs one rendering.
            let Some(other) = pages.of.keys().next().copied() else { break };
            pages.take(other);
        }
        pages.bytes += page.body.len();
        pages.of.insert(slot, Arc::clone(&page));
        page
    }
}

impl Pages {
    fn take(&mut self, slot: SlotNo) {
        if let Some(page) = self.of.remove(&slot) {
            self.bytes -= page.body.len();
        }
    }
}

impl Page {
    fn of(clips: &SlotClips) -> Self {
        let list: Vec<_> = clips.clips.iter().map(ClipBody::from).collect();
        let body = serde_json::to_vec(&list).expect("our own types always serialise");
        let etag = etag::of(&body);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, reply::JSON);
        headers.insert(ETAG, etag.clone());
        headers.insert(CACHE_CONTROL, FRESH);
        // Said here, where the size is known: most who ask want no coding, and their answer is looked at no more.
        if body.len() >= compress::LEAST {
            headers.insert(VARY, compress::BY_CODING);
        }
        // Its place: a copy that lacks it would have to grow for each request.
        headers.insert(front::REQUEST_ID, HeaderValue::from_static(""));
        Self { version: clips.version, body: body.into(), etag, headers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClipId, SlotStatus};
    use crate::engine::{ClipView, Counts, SlotView};

    fn clips(version: u64, votes: u64, title_length: usize) -> SlotClips {
        let season = SeasonId::new("s1").unwrap();
        let clip = ClipView {
            comments: 0,
            id: ClipId::new("clip-1").unwrap(),
            season: season.clone(),
            position: 1,
            title: "x".repeat(title_length),
            username: None,
            avatar_url: None,
            video_url: None,
            thumbnail_url: None,
            counts: Some(Counts { votes, weight: votes }),
        };
        let slot = SlotView {
            season,
            position: 1,
            status: SlotStatus::Voting,
            started_at: None,
            ends_at: None,
            hidden: false,
            frozen_by: None,
            frozen_at: None,
            winner: None,
            decided: None,
            clips: 1,
        };
        SlotClips { version, slot, clips: vec![clip] }
    }

    #[test]
    fn a_page_is_handed_out_until_its_version_changes() {
        let pages = Rendered::default();
        let slot = SlotNo(3);
        assert!(pages.get(slot, 1).is_none());
        let first = pages.put(slot, &clips(1, 0, 5));
        assert!(Arc::ptr_eq(&first, &pages.get(slot, 1).unwrap()));
        assert!(pages.get(slot, 2).is_none());
        let second = pages.put(slot, &clips(2, 1, 5));
        assert_ne!(first.etag, second.etag);
        assert_eq!(first.etag, pages.put(slot, &clips(3, 0, 5)).etag, "equal bytes, equal tag");
    }

    #[test]
    fn the_cache_is_bounded_in_slots_and_bytes() {
        let pages = Rendered::default();
        for slot in 0..1_000 {
            pages.put(SlotNo(slot), &clips(1, 0, 5));
        }
        assert_eq!(pages.0.read().of.len(), SLOTS_MAX);
        for slot in 0..6 {
            pages.put(SlotNo(slot), &clips(1, 0, BYTES_MAX / 5));
            let pages = pages.0.read();
            assert_eq!(pages.bytes, pages.of.values().map(|page| page.body.len()).sum::<usize>());
            assert!(pages.bytes <= BYTES_MAX);
        }
        pages.put(SlotNo(5_000), &clips(1, 0, BYTES_MAX / 2));
        assert!(pages.get(SlotNo(5_000), 1).is_none(), "a page that would push out all others is not kept");
    }
}
