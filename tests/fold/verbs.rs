//! What random logs are made of: steps of every kind, and how often each comes. Never: whether a step is possible, which the model knows.

use plaudit::domain::FrozenBy;
use proptest::prelude::*;

use crate::comments::{self, Said};

/// What a step asks for; it becomes no event where the state before it forbids it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Vote {
        who: u16,
        clip: u32,
        weight: u16,
    },
    /// As many votes of voters who have not voted yet: some fill a block, some several.
    Burst {
        votes: u16,
        clip: u32,
    },
    Retract {
        nth: usize,
    },
    Season,
    Slot {
        season: u32,
    },
    Clips {
        count: u32,
        slot: u32,
    },
    Wait {
        slot: u32,
    },
    Open {
        slot: u32,
        ends: bool,
    },
    /// As earlier versions wrote it, or as it is written today.
    Freeze {
        slot: u32,
        by: Option<FrozenBy>,
    },
    Extend {
        slot: u32,
        ends: bool,
    },
    Reopen {
        slot: u32,
        ends: bool,
    },
    /// Likewise.
    Lock {
        slot: u32,
        as_today: bool,
    },
    Ban {
        who: u16,
        until: bool,
    },
    Unban {
        who: u16,
    },
    /// A void of a slot begins; its votes are named, some at a time, and it takes effect, or the server starts anew.
    VoidBegin {
        slot: u32,
    },
    VoidName {
        every: usize,
    },
    VoidTake,
    VoidLift {
        nth: usize,
    },
    Start,
    /// A voter is erased, one with votes under a void if told so: it begins, goes on with some comments or clips, has searched through
    /// all comments, and ends.
    EraseBegin {
        who: u16,
        masked: bool,
    },
    EraseComments {
        nth: usize,
        every: usize,
    },
    EraseClips {
        nth: usize,
        every: usize,
        owners: bool,
    },
    EraseSearched {
        nth: usize,
    },
    EraseEnd {
        nth: usize,
    },
    /// Somebody has something to say.
    Say(Said),
}

pub(crate) fn verb() -> impl Strategy<Value = Verb> {
    let by = prop::option::of(prop_oneof![Just(FrozenBy::Operator), Just(FrozenBy::Timer), Just(FrozenBy::Lock)]);
    prop_oneof![
        20 => (0_u16..40, any::<u32>(), 1_u16..20).prop_map(|(who, clip, weight)| Verb::Vote { who, clip, weight }),
        2 => (1_u16..400, any::<u32>()).prop_map(|(votes, clip)| Verb::Burst { votes, clip }),
        1 => (2_000_u16..4_000, any::<u32>()).prop_map(|(votes, clip)| Verb::Burst { votes, clip }),
        10 => any::<usize>().prop_map(|nth| Verb::Retract { nth }),
        1 => Just(Verb::Season),
        2 => any::<u32>().prop_map(|season| Verb::Slot { season }),
        2 => (1_u32..300, any::<u32>()).prop_map(|(count, slot)| Verb::Clips { count, slot }),
        1 => any::<u32>().prop_map(|slot| Verb::Wait { slot }),
        3 => (any::<u32>(), any::<bool>()).prop_map(|(slot, ends)| Verb::Open { slot, ends }),
        2 => (any::<u32>(), by).prop_map(|(slot, by)| Verb::Freeze { slot, by }),
        // Dozens of steps in one slot's life are within a step's reach.
        3 => (any::<u32>(), any::<bool>()).prop_map(|(slot, ends)| Verb::Extend { slot, ends }),
        2 => (any::<u32>(), any::<bool>()).prop_map(|(slot, ends)| Verb::Reopen { slot, ends }),
        1 => (any::<u32>(), any::<bool>()).prop_map(|(slot, as_today)| Verb::Lock { slot, as_today }),
        3 => (0_u16..40, any::<bool>()).prop_map(|(who, until)| Verb::Ban { who, until }),
        2 => (0_u16..40).prop_map(|who| Verb::Unban { who }),
        3 => any::<u32>().prop_map(|slot| Verb::VoidBegin { slot }),
        5 => (1_usize..9).prop_map(|every| Verb::VoidName { every }),
        3 => Just(Verb::VoidTake),
        2 => any::<usize>().prop_map(|nth| Verb::VoidLift { nth }),
        1 => Just(Verb::Start),
        6 => (0_u16..40, any::<bool>()).prop_map(|(who, masked)| Verb::EraseBegin { who, masked }),
        3 => (any::<usize>(), 1_usize..9, any::<bool>())
            .prop_map(|(nth, every, owners)| Verb::EraseClips { nth, every, owners }),
        4 => (any::<usize>(), 1_usize..4).prop_map(|(nth, every)| Verb::EraseComments { nth, every }),
        2 => any::<usize>().prop_map(|nth| Verb::EraseSearched { nth }),
        5 => any::<usize>().prop_map(|nth| Verb::EraseEnd { nth }),
        60 => comments::said().prop_map(Verb::Say),
    ]
}
