//! Blocks of the log: any bytes are read or refused; with a right checksum over any body too; and what is read is built
//! and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plaudit::codec::{self, HEADER, Kind};
use plaudit::domain::Logged;
use plaudit::log::block::{self, Builder, Link};

fuzz_target!(|data: &[u8]| {
    let _ = read(1, data);
    if data.len() < HEADER {
        return;
    }
    // A block's key is the first sequence in it: no other is read further.
    let Some(first) = codec::take::<u64>(&mut &data[HEADER..]) else { return };
    let mut sealed = data.to_vec();
    codec::seal(Kind::LogBlock, &block::key(first), &mut sealed);
    let Some((link, events)) = read(first, &sealed) else { return };
    assert_eq!((link.first, link.last), (first, first + (events.len() as u64 - 1)));
    assert!(events.iter().zip(first..).all(|(logged, seq)| logged.seq == seq));

    let mut builder = Builder::default();
    for Logged { at, event, .. } in &events {
        builder.add(*at, event);
    }
    let (record, chain) = builder.seal(first, link.previous);
    let (again, same) = read(first, record).expect("what was built is read");
    assert_eq!((again, same), (Link { chain, ..link }, events));
});

fn read(first: u64, record: &[u8]) -> Option<(Link, Vec<Logged>)> {
    let mut events = Vec::new();
    let keep = |logged| {
        events.push(logged);
        Ok(())
    };
    let link = block::read(&block::key(first), record, keep).ok()?;
    Some((link, events))
}
