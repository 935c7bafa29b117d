//! A voter's votes while slots are open, and while one is locked beneath the reading.

use super::*;
use crate::clock::ManualClock;
use crate::domain::{ClipDraft, SlotNo, VoterKey};
use crate::engine::Settings;
use crate::fold::keys;
use crate::store::FaultyDisk;

const CLIPS: [&str; 3] = ["c0", "c1", "c2"];

/// Slot 1 of season `s` takes votes for `c0`, `c1` and `c2`.
async fn staged() -> Engine {
    let disk = FaultyDisk::new(1);
    let settings = Settings::new(std::env::temp_dir(), VoterKey::new([7; 32]));
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let engine = Engine::over(settings, clock, disk.open("log"), disk.open("tables")).unwrap();
    engine.create_season(Some(SeasonId::new("s").unwrap()), "Season".into()).await.unwrap();
    engine.create_slot("s", None).await.unwrap();
    for id in CLIPS {
        let draft = ClipDraft { title: id.into(), ..ClipDraft::default() };
        let id = ClipId::new(id).unwrap();
        engine.add_clip("s", 1, Some(id), draft.checked().unwrap()).await.unwrap();
    }
    engine.open_slot("s", 1, None, false).await.unwrap();
    engine
}

async fn cast(engine: &Engine, voter: VoterId, clip: &str) -> Seq {
    engine.vote(voter, clip, VoteKind::Standard).await.unwrap().seq
}

/// A vote for `c0`, then several for `c1` that are taken back, then one for `c1` and one for `c2`: each with its retraction.
async fn voted(engine: &Engine, voter: VoterId) -> Vec<(Seq, Option<Seq>)> {
    let mut votes = vec![(cast(engine, voter, "c0").await, None)];
    for _ in 0..7 {
        let vote = cast(engine, voter, "c1").await;
        cast(engine, VoterId([9; 16]), "c1").await;
        votes.push((vote, Some(engine.retract(voter, "c1").await.unwrap().seq)));
        engine.retract(VoterId([9; 16]), "c1").await.unwrap();
    }
    for clip in ["c1", "c2"] {
        votes.push((cast(engine, voter, clip).await, None));
    }
    votes
}

fn seen(vote: &OwnVote) -> (Seq, Option<Seq>) {
    (vote.seq, vote.taken_back.map(|(seq, _)| seq))
}

#[tokio::test]
async fn more_votes_than_a_window_holds_come_once_each_with_their_retractions() {
    let engine = staged().await;
    let ada = VoterId([1; 16]);
    let votes = voted(&engine, ada).await;
    for window in 1..=votes.len() + 1 {
        let mut data = engine.own_data(ada).await.unwrap();
        data.window = window;
        let mut found = Vec::new();
        data.votes(&mut |vote| {
            found.extend(vote.as_ref().map(seen));
            Ok(())
        })
        .unwrap();
        assert_eq!(found, votes, "{window} at a time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_while_it_is_read_leaves_out_no_vote_that_stands() {
    let engine = staged().await;
    let ada = VoterId([1; 16]);
    let votes = voted(&engine, ada).await;
    let mut data = engine.own_data(ada).await.unwrap();
    data.window = 2;
    let handle = tokio::runtime::Handle::current();
    let reading = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        data.votes(&mut |vote| {
            let Some(vote) = vote else { return Ok(()) };
            found.push(seen(&vote));
            if found.len() == 1 {
                handle.block_on(engine.lock_slot("s", 1)).unwrap();
                let (first, end) = keys::ballots_of(SlotNo(0));
                // The pages stand for the blocks, which go.
                while engine.core.tables.last_in(&first, &end).unwrap().is_some() {
                    handle.block_on(engine.drain()).unwrap();
                    std::thread::yield_now();
                }
            }
            Ok(())
        })
        .unwrap();
        found
    });
    let found = reading.await.unwrap();
    let kept = [votes[0], votes[1], votes[8], votes[9]];
    assert_eq!(found, kept, "the window that was read before it, then what stands behind");
}
