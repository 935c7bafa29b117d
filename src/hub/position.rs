//! A place in the order of everything that is pushed. Never given twice, restarts included: each start is an event of
//! the log, so what follows has a larger sequence.

use std::fmt;
use std::str::FromStr;

use crate::domain::Seq;

/// `seq.n`: the log's sequence, and the order of several events of one sequence. What comes from outside the log takes
/// the last sequence and the next `n`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    /// The sequence.
    pub seq: Seq,
    /// From 0. As wide as a sequence: a server that only passes triggers on stays at one for as long as it runs.
    pub n: u64,
}

impl Position {
    /// The first position of a sequence.
    pub fn of(seq: Seq) -> Self {
        Self { seq, n: 0 }
    }

    /// The next one of the same sequence.
    pub(super) fn next(self) -> Self {
        Self { seq: self.seq, n: self.n + 1 }
    }

    /// The position of an event of the log behind this one.
    pub(super) fn next_of(self, seq: Seq) -> Self {
        if seq > self.seq { Self::of(seq) } else { self.next() }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq, self.n)
    }
}

/// Why a text is no position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (seq, n) = text.split_once('.').ok_or(NoPosition)?;
        // `parse` would take a sign.
        let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(seq) || !plain(n) {
            return Err(NoPosition);
        }
        Ok(Self { seq: seq.parse().map_err(|_| NoPosition)?, n: n.parse().map_err(|_| NoPosition)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_back_and_sort_by_sequence_first() {
        for position in [Position::default(), Position { seq: u64::MAX, n: u64::MAX }, Position { seq: 57, n: 3 }] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        assert!(Position { seq: 9, n: 7 } < Position::of(10));
        assert!(Position::of(10) < Position::of(10).next());
    }

    #[test]
    fn one_sequence_has_room_for_all_that_is_triggered_in_years() {
        let many = Position { seq: 1, n: u32::MAX.into() };
        assert!(many < many.next());
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for bad in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "+1.0",
            "1.-1",
            "1.0.0",
            "1.0 ",
            "x",
            "18446744073709551616.0",
            "1.18446744073709551616",
        ] {
            assert_eq!(bad.parse::<Position>(), Err(NoPosition), "{bad:?}");
        }
    }

    #[test]
    fn events_of_the_log_follow_what_came_from_outside() {
        let last = Position { seq: 4, n: 2 };
        assert_eq!(last.next_of(4), Position { seq: 4, n: 3 });
        assert_eq!(last.next_of(6), Position::of(6));
    }
}
