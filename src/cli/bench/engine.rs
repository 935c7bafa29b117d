//! The engine alone: votes from tasks of this process, each of a voter of its own, and every one counted at the end.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;

use super::meter::{Meter, Refusal};
use super::report::{Cost, Report};
use super::{Scratch, end, process, secrets, tag, watch};
use crate::cli::args::Bench;
use crate::cli::serve::engine_ack;
use crate::clock::SystemClock;
use crate::domain::{ClipDraft, ClipId, NetworkHash, Origin, SeasonId, VoteKind, VoterId};
use crate::engine::{Engine, Settings};
use crate::error::{Fault, Reject};

/// Runs, and leaves a store that `serve` and `verify` open if it is to be kept.
pub(super) async fn run(args: &Bench) -> Result<Report, Fault> {
    let scratch = Scratch::new(args.keep.as_deref())?;
    let (secrets, _) = secrets::load_or_make(&scratch.dir)?;
    let mut settings = Settings { ack: engine_ack(args.ack), ..Settings::new(&scratch.dir, secrets.voter_key) };
    // Each vote is of a voter of its own.
    settings.max_voters = settings.max_voters.max(args.votes.unwrap_or(0));
    let opened = tokio::task::spawn_blocking(move || Engine::open(settings, Arc::new(SystemClock))).await;
    let engine = opened.map_err(|why| Fault::Setting(format!("opening the store failed: {why}")))??;
    let stage = |why: Reject| Fault::Setting(format!("the season of the run can't be made: {why}"));
    let clips = clips(&engine, args.clips).await.map_err(stage)?;

    let (limit, time) = end(args);
    let before = own_cpu();
    let meter = Meter::start(limit, time, None);
    let mut tasks = JoinSet::new();
    let tag = tag()?;
    for sender in 0..args.in_flight as usize {
        let (engine, meter, clips) = (engine.clone(), Arc::clone(&meter), Arc::clone(&clips));
        tasks.spawn(async move {
            while let Some(turn) = meter.turn().await {
                let clip = usize::try_from(turn.number % clips.len() as u64).expect("below a length");
                let (voter, origin) = (voter(tag, turn.number), origin(turn.number));
                match engine.vote_from(origin, voter, &clips[clip], VoteKind::Standard).await {
                    Ok(_) => meter.succeeded(sender, turn),
                    Err(why) => meter.refused(sender, Refusal::Code(why.code())),
                }
            }
            Ok(())
        });
    }
    watch(tasks, &meter).await?;
    let cpu = own_cpu().saturating_sub(before);
    let totals = meter.totals();

    let findings = recount(&engine, &clips, totals.succeeded).await;
    let cost = Cost {
        cpu: Some(cpu),
        resident: process::Watched::own().and_then(process::Watched::resident),
        disk: Some(process::store_bytes(&scratch.dir)),
    };
    let closing = tokio::task::spawn_blocking(move || engine.close()).await;
    closing.map_err(|why| Fault::Setting(format!("closing the store failed: {why}")))??;
    Ok(Report::new("engine", Some(args.ack.as_str().into()), totals, &cost, findings))
}

async fn clips(engine: &Engine, count: u32) -> Result<Arc<Vec<String>>, Reject> {
    engine.create_season(Some(SeasonId::new("bench")?), "Benchmark".into()).await?;
    let position = engine.create_slot("bench", None).await?.position;
    let mut clips = Vec::with_capacity(count as usize);
    for number in 1..=count {
        let id = format!("clip-{number}");
        let draft = ClipDraft { title: format!("Clip {number}"), ..ClipDraft::default() };
        engine.add_clip("bench", position, Some(ClipId::new(&id)?), draft).await?;
        clips.push(id);
    }
    engine.open_slot("bench", position, None, false).await?;
    Ok(Arc::new(clips))
}

/// Whether the clips' counts are exactly what was acknowledged, once all is settled and applied.
async fn recount(engine: &Engine, clips: &[String], acknowledged: u64) -> Vec<String> {
    if let Err(why) = engine.drain().await {
        return vec![format!("the engine could not be drained: {why}")];
    }
    let counted = |clip: &String| engine.counts(clip).ok().flatten().map_or(0, |counts| counts.votes);
    let counted: u64 = clips.iter().map(counted).sum();
    if counted == acknowledged {
        return Vec::new();
    }
    vec![format!("{acknowledged} votes were acknowledged and {counted} are counted")]
}

/// As long on the disk as those of votes that came by requests: eight voters a network.
fn origin(number: u64) -> Origin {
    Origin { risk: 0, network: NetworkHash::of((number / 8 + 1).to_be_bytes()) }
}

/// A voter for each number: 16 bytes as even as those of a keyed hash, for two multiplications a half (`SplitMix64`'s
/// finisher), so that the run measures the engine and not the making of voters.
fn voter(tag: u32, number: u64) -> VoterId {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let halves = [mix(number + 1), mix(u64::from(tag) << 32 ^ number.rotate_left(17))];
    let mut id = [0; 16];
    id[..8].copy_from_slice(&halves[0].to_be_bytes());
    id[8..].copy_from_slice(&halves[1].to_be_bytes());
    VoterId(id)
}

fn own_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).expect("CPU time counts from the process's start");
    Duration::new(seconds, u32::try_from(now.tv_nsec).expect("below a second"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn voters_differ_by_number_alone() {
        let voters: HashSet<[u8; 16]> = (0..100_000).map(|number| voter(9, number).0).collect();
        assert_eq!(voters.len(), 100_000);
        let starts: HashSet<u8> = (0..10_000).map(|number| voter(9, number).0[0]).collect();
        assert_eq!(starts.len(), 256, "the first byte is even, since it picks the shard");
    }
}
