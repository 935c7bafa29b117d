use super::*;
use crate::codec::Kind;

fn plan(source: &str) -> Begun {
    Begun::new(source.into(), [1; 16], [2; 16])
}

fn record(value: u8) -> Vec<u8> {
    codec::record(Kind::Mark, b"k", &value)
}

#[test]
fn a_store_in_the_making_is_one_programs_and_another_source_is_begun_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    let mut first = Building::begin(&dir, plan("a")).unwrap();
    assert_eq!(first.start(), Start::Fresh);
    first.put("tables", b"k", &record(7)).unwrap();
    for plan in [plan("a"), plan("b")] {
        let why = Building::begin(&dir, plan).unwrap_err().to_string();
        assert!(why.contains("another"), "{why}");
    }
    assert!(first.home.tables().get(b"k").unwrap().is_some(), "it is left alone");
    drop(first);
    let again = Building::begin(&dir, plan("a")).unwrap();
    assert_eq!(again.start(), Start::GoesOn);
    assert!(again.home.tables().get(b"k").unwrap().is_some());
    drop(again);
    let again = Building::begin(&dir, plan("b")).unwrap();
    assert_eq!(again.start(), Start::Anew);
    assert!(again.home.tables().get(b"k").unwrap().is_none());
    again.home.note_clean(0).unwrap();
    drop(again);
    let why = Building::begin(&dir, plan("b")).unwrap_err().to_string();
    assert!(why.contains("not empty"), "a store is never made anew: {why}");
}
