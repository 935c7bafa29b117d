//! Blocks of stored ballots: any bytes are read or refused; with a right checksum over any body too; and what is read can
//! be gone on with.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plaudit::codec::{self, HEADER, Kind};
use plaudit::domain::{ClipNo, NetworkHash, Origin, SlotNo, VoteKind, VoterId};
use plaudit::fold::ballot_block::{self, Act, Head};
use plaudit::fold::{Ballot, BallotBlock, Stored, keys};

const SLOT: SlotNo = SlotNo(3);

fuzz_target!(|data: &[u8]| {
    let _ = read(&keys::ballots(SLOT, 1), data);
    if data.len() < HEADER {
        return;
    }
    let Some(first) = codec::take::<u64>(&mut &data[HEADER..]) else { return };
    let key = keys::ballots(SLOT, first);
    let mut sealed = data.to_vec();
    codec::seal(Kind::BallotBlock, &key, &mut sealed);
    let read_back = read(&key, &sealed);
    let resumed = BallotBlock::resume(&key, &sealed);
    assert_eq!(read_back.is_some(), resumed.is_ok());
    let (Some((head, mut entries)), Ok(mut block)) = (read_back, resumed) else { return };
    assert_eq!((head.entries as usize, block.head()), (entries.len(), head));
    assert_eq!(ballot_block::head(&key, &sealed).expect("it was read whole"), head);

    // Behind the last sequence there is always another, but for the very last of all.
    let Some(seq) = head.last.checked_add(1).filter(|_| head.entries < u32::MAX && !entries.is_empty()) else { return };
    let at = entries.last().map_or(0, |entry| entry.at);
    let act = Act::Cast(VoteKind::Super);
    let ballot = Ballot { voter: VoterId([9; 16]), clip: ClipNo(7), weight: 3, day: head.day, act, origin: Origin { risk: 40, network: NetworkHash::of([7; 8]) } };
    let more = Stored { seq, at, ballot };
    block.append(more);
    entries.push(more);
    let (grown, seen) = read(&key, &block.record(SLOT)).expect("what was gone on with is read");
    assert_eq!((grown.entries, grown.last, seen), (head.entries + 1, seq, entries));
});

fn read(key: &[u8], record: &[u8]) -> Option<(Head, Vec<Stored>)> {
    let mut entries = Vec::new();
    let keep = |entry| {
        entries.push(entry);
        Ok(())
    };
    let head = ballot_block::read(key, record, keep).ok()?;
    Some((head, entries))
}
