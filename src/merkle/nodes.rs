//! Many nodes of a tree at once: BLAKE3 of many short messages side by side.
//!
//! A node has 65 bytes: a whole block of 64, and another of one. The crate's documented interface hashes one message at a time, which
//! SIMD can't speed up; its kernels take the whole blocks of up to sixteen messages at once, each in a lane of its own. So the first
//! blocks go through those, and only the second ones one by one: a sort costs an eighth less (`--bench sort`).
//!
//! The crate calls these functions undocumented and unstable: its version is fixed in `Cargo.toml`, and a test holds every node to
//! `blake3::hash`. Its pull request 575 would make this file needless. Never: another function than BLAKE3.

use std::sync::LazyLock;

use blake3::IncrementCounter;
use blake3::platform::{MAX_SIMD_DEGREE, Platform, le_bytes_from_words_32, words_from_le_bytes_32};

use super::tree::Hash;

/// The initial chaining value, and flags of a block: the BLAKE3 paper, section 2.
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const ROOT: u8 = 8;
const BLOCK: usize = 64;

/// What this processor can do: found once.
static PLATFORM: LazyLock<Platform> = LazyLock::new(Platform::detect);

/// Puts the nodes above a level in its place: each above two hashes; a last one that has no other stays as it is.
pub(super) fn raise(level: &mut Vec<Hash>) {
    let pairs = level.len() / 2;
    let mut first = [[0; BLOCK]; MAX_SIMD_DEGREE];
    for from in (0..pairs).step_by(MAX_SIMD_DEGREE) {
        let lanes = (pairs - from).min(MAX_SIMD_DEGREE);
        for (lane, block) in first[..lanes].iter_mut().enumerate() {
            let (left, right) = (&level[2 * (from + lane)], &level[2 * (from + lane) + 1]);
            block[0] = 1;
            block[1..33].copy_from_slice(left);
            block[33..].copy_from_slice(&right[..31]);
        }
        let blocks: [&[u8; BLOCK]; MAX_SIMD_DEGREE] = std::array::from_fn(|lane| &first[lane]);
        let mut values = [0; MAX_SIMD_DEGREE * 32];
        PLATFORM.hash_many(&blocks[..lanes], &IV, 0, IncrementCounter::No, 0, CHUNK_START, 0, &mut values);
        for (lane, value) in values.as_chunks().0[..lanes].iter().enumerate() {
            let mut last = [0; BLOCK];
            last[0] = level[2 * (from + lane) + 1][31];
            let mut value = words_from_le_bytes_32(value);
            PLATFORM.compress_in_place(&mut value, &last, 1, 0, CHUNK_END | ROOT);
            // What is still to be read lies at twice the place or behind it.
            level[from + lane] = le_bytes_from_words_32(&value);
        }
    }
    let odd = (!level.len().is_multiple_of(2)).then(|| level[2 * pairs]);
    level.truncate(pairs);
    level.extend(odd);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tree::node;
    use super::*;

    proptest! {
        #[test]
        fn every_node_is_what_blake3_says(mut level in prop::collection::vec(any::<Hash>(), 0..200)) {
            let above: Vec<Hash> = level
                .chunks(2)
                .map(|pair| if let [left, right] = pair { node(left, right) } else { pair[0] })
                .collect();
            raise(&mut level);
            prop_assert_eq!(level, above);
        }
    }
}
