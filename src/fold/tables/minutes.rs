//! Groups' pages of minutes: each group's last one, which grows, and those before it that are full and not stored yet.
//!
//! A group's first page notes what its clips had before it, so it is begun before the counts take in what begins it. Never: a
//! minute of what a void does to counts.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use super::numbered::{Numbered, Paged};
use crate::domain::{ClipNo, Seq};
use crate::error::Fault;
use crate::fold::ballot_block::{Act, Stored};
use crate::fold::keys;
use crate::fold::timeline::{self, CLIPS_A_TIMELINE, TimelinePage};
use crate::fold::totals::{Change, TotalsPage};
use crate::store::Store;

/// Groups of clips whose last page of minutes is kept in memory between steps, 10 KiB each; more are read again.
const MINUTES_KEPT: usize = 1_024;

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    last: HashMap<u32, Paged<TimelinePage>>,
    full: Vec<(u32, TimelinePage)>,
}

impl Minutes {
    pub(super) fn add(
        &mut self,
        store: &dyn Store,
        totals: &mut Numbered<TotalsPage>,
        (seq, at): (Seq, u64),
        clip: ClipNo,
        change: Change,
    ) -> Result<(), Fault> {
        let group = timeline::group_of(clip);
        let paged = self.page(store, totals, group, seq)?;
        if seq <= paged.page.last {
            return Ok(());
        }
        if !paged.page.add(seq, at, clip, change) {
            let mut next = TimelinePage::begin(seq, paged.page.behind()?);
            assert!(next.add(seq, at, clip, change), "an empty page has room");
            let full = std::mem::replace(&mut paged.page, next);
            let was_dirty = std::mem::replace(&mut paged.dirty, true);
            if was_dirty {
                self.full.push((group, full));
            }
            return Ok(());
        }
        paged.dirty = true;
        Ok(())
    }

    /// A group's minutes begin at this sequence at the latest, with what its clips have, even if nothing is added.
    pub(super) fn begin(
        &mut self,
        store: &dyn Store,
        totals: &mut Numbered<TotalsPage>,
        group: u32,
        seq: Seq,
    ) -> Result<(), Fault> {
        self.page(store, totals, group, seq)?.dirty = true;
        Ok(())
    }

    /// Stores what was changed.
    pub(super) fn store(&mut self, store: &dyn Store) -> Result<(), Fault> {
        for (group, page) in self.full.drain(..) {
            store.insert(&keys::timeline(group, page.first), &page.record(group))?;
        }
        for (group, Paged { page, dirty }) in &mut self.last {
            if std::mem::take(dirty) {
                store.insert(&keys::timeline(*group, page.first), &page.record(*group))?;
            }
        }
        Ok(())
    }

    /// Holds what is kept between steps to its bound. Once all of it is stored.
    pub(super) fn trim(&mut self) {
        if self.last.len() > MINUTES_KEPT {
            self.last.clear();
        }
    }

    /// Every page, by group and in log order.
    pub(super) fn each(
        &self,
        store: &dyn Store,
        mut visit: impl FnMut(u32, TimelinePage) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let changed = self.last.iter().filter(|(_, paged)| paged.dirty).map(|(group, paged)| (*group, &paged.page));
        let full = self.full.iter().map(|(group, page)| (*group, page));
        let mut changed: BTreeMap<(u32, Seq), &TimelinePage> =
            full.chain(changed).map(|(group, page)| ((group, page.first), page)).collect();
        let (from, to) = keys::timelines();
        store.scan(&from, &to, &mut |key, record| {
            let page = timeline::read(key, record)?;
            let group = keys::timeline_group(key).expect("it was read");
            while let Some(entry) = changed.first_entry().filter(|entry| *entry.key() < (group, page.first)) {
                let ((group, _), page) = entry.remove_entry();
                visit(group, page.clone())?;
            }
            visit(group, changed.remove(&(group, page.first)).cloned().unwrap_or(page))?;
            Ok(ControlFlow::Continue(()))
        })?;
        changed.into_iter().try_for_each(|((group, _), page)| visit(group, page.clone()))
    }

    /// Makes a group's pages anew from its ballots, in log order: pages that are no longer needed go at once, the rest is stored
    /// with what was changed.
    pub(super) fn repair(&mut self, store: &dyn Store, group: u32, ballots: &[Stored]) -> Result<(), Fault> {
        let (from, to) = keys::timeline_of(group);
        let mut old = Vec::new();
        store.scan(&from, &to, &mut |key, _| {
            old.push(key.to_vec());
            Ok(ControlFlow::Continue(()))
        })?;
        self.full.retain(|(of, _)| *of != group);
        let known = self.last.remove(&group).map(|paged| paged.page.first);
        let stored = old.first().map(|key| Seq::from_be_bytes(key[5..].try_into().expect("a key of 13 bytes")));
        let first = [known, stored, ballots.first().map(|ballot| ballot.seq)].into_iter().flatten().min();
        let mut page = TimelinePage::begin(first.unwrap_or(0), [(0, 0); CLIPS_A_TIMELINE as usize]);
        let mut kept = HashSet::new();
        for Stored { seq, at, ballot } in ballots {
            let sign = if matches!(ballot.act, Act::Cast(_)) { 1 } else { -1 };
            let change = Change { votes: sign, weight: sign * i64::from(ballot.weight) };
            if !page.add(*seq, *at, ballot.clip, change) {
                let mut next = TimelinePage::begin(*seq, page.behind()?);
                assert!(next.add(*seq, *at, ballot.clip, change), "an empty page has room");
                kept.insert(keys::timeline(group, page.first).to_vec());
                self.full.push((group, std::mem::replace(&mut page, next)));
            }
        }
        if !page.segments.is_empty() {
            kept.insert(keys::timeline(group, page.first).to_vec());
            self.last.insert(group, Paged { page, dirty: true });
        }
        old.iter().filter(|key| !kept.contains(*key)).try_for_each(|key| store.remove(key))
    }

    /// A group's last page; a new one begins at this sequence, with what its clips have.
    fn page(
        &mut self,
        store: &dyn Store,
        totals: &mut Numbered<TotalsPage>,
        group: u32,
        seq: Seq,
    ) -> Result<&mut Paged<TimelinePage>, Fault> {
        match self.last.entry(group) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let (from, to) = keys::timeline_of(group);
                let page = match store.last_in(&from, &to)? {
                    Some((key, record)) => timeline::read(&key, &record)?,
                    None => TimelinePage::begin(seq, totals_of(store, totals, group)?),
                };
                Ok(entry.insert(Paged { page, dirty: false }))
            }
        }
    }
}

/// What a group's clips have: all of it, where the store was begun by a program that kept no minutes.
fn totals_of(
    store: &dyn Store,
    totals: &mut Numbered<TotalsPage>,
    group: u32,
) -> Result<[(u64, u64); CLIPS_A_TIMELINE as usize], Fault> {
    let mut sums = [(0, 0); CLIPS_A_TIMELINE as usize];
    for (clip, sum) in (group * CLIPS_A_TIMELINE..).map(ClipNo).zip(&mut sums) {
        *sum = totals.page(store, TotalsPage::number(clip))?.page.get(clip);
    }
    Ok(sums)
}
