//! bincode's numbers by hand, byte for byte as [`put`](super::put) and [`take`](super::take) have them: for what is read and
//! written by the million, where a decoder that knows no types ahead costs several times as much.
//!
//! ```text
//! 0..=250            the number itself
//! 251, 252, 253      2, 4 or 8 bytes follow, little-endian
//! signed             zigzag: 0, -1, 1, -2, … are 0, 1, 2, 3, …
//! ```

#![expect(clippy::little_endian_bytes, reason = "bincode's order; no key is made of these")]

const SINGLE_MAX: u8 = 250;
const TWO: u8 = 251;
const FOUR: u8 = 252;
const EIGHT: u8 = 253;

/// Appends a number of any width.
#[inline]
pub fn put(number: u64, body: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(single @ ..=SINGLE_MAX) => body.push(single),
        _ => put_long(number, body),
    }
}

fn put_long(number: u64, body: &mut Vec<u8>) {
    if let Ok(two) = u16::try_from(number) {
        let [a, b] = two.to_le_bytes();
        body.extend_from_slice(&[TWO, a, b]);
    } else if let Ok(four) = u32::try_from(number) {
        let [a, b, c, d] = four.to_le_bytes();
        body.extend_from_slice(&[FOUR, a, b, c, d]);
    } else {
        body.push(EIGHT);
        body.extend_from_slice(&number.to_le_bytes());
    }
}

/// Appends a signed number of any width.
#[inline]
pub fn put_signed(number: i64, body: &mut Vec<u8>) {
    put(((number << 1) ^ (number >> 63)).cast_unsigned(), body);
}

/// Takes a `u64` off the front.
#[inline]
pub fn take_u64(body: &mut &[u8]) -> Option<u64> {
    match take_bytes(body)? {
        [single @ ..=SINGLE_MAX] => Some(u64::from(single)),
        [TWO] => Some(u64::from(u16::from_le_bytes(take_bytes(body)?))),
        [FOUR] => Some(u64::from(u32::from_le_bytes(take_bytes(body)?))),
        [EIGHT] => Some(u64::from_le_bytes(take_bytes(body)?)),
        _ => None,
    }
}

/// Takes a `u32` off the front; one that was written wider is none.
#[inline]
pub fn take_u32(body: &mut &[u8]) -> Option<u32> {
    match take_bytes(body)? {
        [single @ ..=SINGLE_MAX] => Some(u32::from(single)),
        [TWO] => Some(u32::from(u16::from_le_bytes(take_bytes(body)?))),
        [FOUR] => Some(u32::from_le_bytes(take_bytes(body)?)),
        _ => None,
    }
}

/// Takes a `u16` off the front; one that was written wider is none.
#[inline]
pub fn take_u16(body: &mut &[u8]) -> Option<u16> {
    match take_bytes(body)? {
        [single @ ..=SINGLE_MAX] => Some(u16::from(single)),
        [TWO] => Some(u16::from_le_bytes(take_bytes(body)?)),
        _ => None,
    }
}

/// Takes an `i64` off the front.
#[inline]
pub fn take_i64(body: &mut &[u8]) -> Option<i64> {
    let number = take_u64(body)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// Takes an `i32` off the front; one that was written wider is none.
#[inline]
pub fn take_i32(body: &mut &[u8]) -> Option<i32> {
    let number = take_u32(body)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// Takes bytes that stand there as they are.
#[inline]
pub fn take_bytes<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{self as codec, Decode, Encode};
    use super::*;

    /// Numbers of every length, not of the longest alone.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift)
    }

    fn by_bincode<T: Encode>(value: T) -> Vec<u8> {
        let mut body = Vec::new();
        codec::put(&value, &mut body);
        body
    }

    fn by_hand(number: u64) -> Vec<u8> {
        let mut body = Vec::new();
        put(number, &mut body);
        body
    }

    fn signed_by_hand(number: i64) -> Vec<u8> {
        let mut body = Vec::new();
        put_signed(number, &mut body);
        body
    }

    fn same<T: Decode<()> + PartialEq + std::fmt::Debug>(
        bytes: &[u8],
        take: fn(&mut &[u8]) -> Option<T>,
    ) -> Result<(), TestCaseError> {
        let (mut by_hand, mut by_bincode) = (bytes, bytes);
        let (ours, theirs) = (take(&mut by_hand), codec::take::<T>(&mut by_bincode));
        prop_assert_eq!(&ours, &theirs);
        prop_assert!(ours.is_none() || by_hand == by_bincode);
        Ok(())
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_bincode_writes_them(number in number()) {
            prop_assert_eq!(by_hand(number), by_bincode(number));
            prop_assert_eq!(signed_by_hand(number.cast_signed()), by_bincode(number.cast_signed()));
            prop_assert_eq!(signed_by_hand(-(number >> 1).cast_signed()), by_bincode(-(number >> 1).cast_signed()));
            if let Ok(narrow) = u32::try_from(number) {
                prop_assert_eq!(by_hand(number), by_bincode(narrow));
                let narrow = narrow.cast_signed();
                prop_assert_eq!(signed_by_hand(i64::from(narrow)), by_bincode(narrow));
            }
            if let Ok(narrow) = u16::try_from(number) {
                prop_assert_eq!(by_hand(number), by_bincode(narrow));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused_as_bincode_does(
            marker in prop_oneof![any::<u8>(), 249_u8..=255],
            rest in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let bytes = [&[marker][..], &rest].concat();
            same(&bytes, take_u64)?;
            same(&bytes, take_u32)?;
            same(&bytes, take_u16)?;
            same(&bytes, take_i64)?;
            same(&bytes, take_i32)?;
            same(&bytes, take_bytes::<4>)?;
        }
    }

    #[test]
    fn the_ends_of_every_width_are_bincodes() {
        let ends = [0, 250, 251, 255, 256, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX];
        for number in ends {
            assert_eq!(by_hand(number), by_bincode(number), "{number}");
            assert_eq!(take_u64(&mut by_hand(number).as_slice()), Some(number));
        }
        for number in [0, -1, 125, -125, -126, i64::MAX, i64::MIN, i64::from(i32::MIN)] {
            assert_eq!(signed_by_hand(number), by_bincode(number), "{number}");
            assert_eq!(take_i64(&mut signed_by_hand(number).as_slice()), Some(number));
        }
    }
}
