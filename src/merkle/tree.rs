//! RFC 9162's Merkle tree (2.1) over BLAKE3: the root of a stream in memory of its logarithm, and inclusion proofs.

use super::nodes::raise;

/// A leaf's, a node's or a root's hash.
pub type Hash = [u8; 32];

/// The hash of the node above two others.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    blake3::hash(&bytes).into()
}

/// The root of no leaves.
pub fn empty() -> Hash {
    blake3::hash(&[]).into()
}

/// A tree that leaves are added to. Keeps one hash a level.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Roots of full subtrees, largest first: one for each bit that is set in `leaves`.
    subtrees: Vec<Hash>,
    leaves: u64,
}

impl Tree {
    /// Adds a leaf's hash. Hashes of equally large full subtrees may stand for leaves, too.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            let left = self.subtrees.pop().expect("one for each bit");
            hash = node(&left, &hash);
        }
        self.subtrees.push(hash);
        self.leaves += 1;
    }

    /// How many were added.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The root over them.
    pub fn root(&self) -> Hash {
        let mut smallest_first = self.subtrees.iter().rev();
        let Some(last) = smallest_first.next() else { return empty() };
        smallest_first.fold(*last, |right, left| node(left, &right))
    }
}

/// The root over a list.
pub fn root_of(leaves: &[Hash]) -> Hash {
    root_over(&mut leaves.to_vec())
}

/// The root over a list, which it uses up: a level's nodes at a time, over pairs, an odd one left as it is. They are those of
/// 2.1, which splits a list so that all but the last node of a level are over full subtrees.
pub fn root_over(leaves: &mut Vec<Hash>) -> Hash {
    while leaves.len() > 1 {
        raise(leaves);
    }
    leaves.pop().unwrap_or_else(empty)
}

/// The inclusion proof of a leaf of a list (2.1.3.1), lowest first. The index must be inside.
pub fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    assert!(index < leaves.len(), "the leaf is in the list");
    let (mut list, mut at, mut path) = (leaves, index, Vec::new());
    while list.len() > 1 {
        let (left, right) = list.split_at(list.len().next_power_of_two() / 2);
        // From the top down: the last is the lowest.
        if at < left.len() {
            path.push(root_of(right));
            list = left;
        } else {
            path.push(root_of(left));
            at -= left.len();
            list = right;
        }
    }
    path.reverse();
    path
}

/// The inclusion proof of a leaf of a list that lies in pages of equal, power-of-two size, the last one perhaps smaller: the path
/// within its page, then that of the page's root among the pages' roots, and so on. `levels` are (list, index), lowest first.
pub fn path_of<'a>(levels: impl IntoIterator<Item = (&'a [Hash], usize)>) -> Vec<Hash> {
    levels.into_iter().flat_map(|(list, index)| path(list, index)).collect()
}

/// The root that a proof leads to (2.1.3.2); `None` if it can't be one for that place in a tree of that size.
pub fn root_through(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            // A right border node has no sibling on the levels where it stands alone.
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

/// Whether a proof shows that a leaf is in the tree of that size and root.
pub fn verify(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    root_through(leaf, index, size, path).is_some_and(|found| found == *root)
}

/// In lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// From lower-case hex of the right length.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The RFC's own words: MTH (2.1.1).
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves.len() {
            0 => empty(),
            1 => leaves[0],
            n => {
                let k = (0..63).map(|bit| 1_usize << bit).take_while(|k| *k < n).last().unwrap();
                node(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
            }
        }
    }

    /// The RFC's own words: PATH (2.1.3.1).
    fn naive_path(leaves: &[Hash], m: usize) -> Vec<Hash> {
        let n = leaves.len();
        if n == 1 {
            return Vec::new();
        }
        let k = (0..63).map(|bit| 1_usize << bit).take_while(|k| *k < n).last().unwrap();
        if m < k {
            [naive_path(&leaves[..k], m), vec![naive_root(&leaves[k..])]].concat()
        } else {
            [naive_path(&leaves[k..], m - k), vec![naive_root(&leaves[..k])]].concat()
        }
    }

    fn leaves(n: usize) -> Vec<Hash> {
        (0..n).map(|n| blake3::hash(&n.to_be_bytes()).into()).collect()
    }

    #[test]
    fn roots_are_the_models_and_every_proof_holds_for_its_own_leaf_alone() {
        for n in 0..=70 {
            let leaves = leaves(n);
            let root = root_of(&leaves);
            assert_eq!(root, naive_root(&leaves), "{n}");
            for at in 0..n {
                let path = path(&leaves, at);
                assert_eq!(path, naive_path(&leaves, at), "{at} of {n}");
                let (index, size) = (at as u64, n as u64);
                assert!(verify(&leaves[at], index, size, &path, &root), "{at} of {n}");
                for other in (0..n).filter(|other| *other != at) {
                    assert!(!verify(&leaves[other], index, size, &path, &root), "another leaf");
                    assert!(!verify(&leaves[at], other as u64, size, &path, &root), "another place");
                }
                assert!(!verify(&leaves[at], index, size, &[path.as_slice(), &[root]].concat(), &root), "too long");
                if n > 1 {
                    assert!(!verify(&leaves[at], index, size, &path[..path.len() - 1], &root), "too short");
                }
                assert!(!verify(&leaves[at], size, size, &path, &root) && !verify(&leaves[at], 0, 0, &path, &root));
            }
        }
    }

    proptest! {
        #[test]
        fn a_path_through_pages_is_the_path_of_the_whole(n in 1_usize..600, bits in 0_u32..6, fan in 1_u32..4, at: prop::sample::Index) {
            let leaves = leaves(n);
            let at = at.index(n);
            let mut levels: Vec<(Vec<Hash>, usize)> = Vec::new();
            let (mut list, mut index, mut page) = (leaves.clone(), at, 1_usize << bits);
            loop {
                let pages: Vec<&[Hash]> = list.chunks(page).collect();
                levels.push((pages[index / page].to_vec(), index % page));
                if pages.len() == 1 {
                    break;
                }
                let roots = pages.into_iter().map(root_of).collect();
                (list, index, page) = (roots, index / page, 1 << fan);
            }
            let paged = path_of(levels.iter().map(|(list, index)| (list.as_slice(), *index)));
            prop_assert_eq!(paged, naive_path(&leaves, at));
        }

        #[test]
        fn no_changed_bit_of_a_proof_is_taken(n in 2_usize..200, at: prop::sample::Index, bit: prop::sample::Index) {
            let leaves = leaves(n);
            let at = at.index(n);
            let (root, mut path) = (root_of(&leaves), path(&leaves, at));
            let bit = bit.index(path.len() * 256);
            path[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
            prop_assert!(!verify(&leaves[at], at as u64, n as u64, &path, &root));
        }

        #[test]
        fn hex_reads_back(bytes: [u8; 32]) {
            prop_assert_eq!(unhex::<32>(&hex(&bytes)), Some(bytes));
            prop_assert_eq!(unhex::<31>(&hex(&bytes)), None);
            prop_assert_eq!(unhex::<32>(&hex(&bytes).replace(['a', '0'], "G")), (!hex(&bytes).contains(['a', '0'])).then_some(bytes));
        }
    }

    #[test]
    fn roots_of_a_few_leaves_stay_as_they_are() {
        let of = |n: usize| hex(&root_of(&leaves(n)));
        assert_eq!(of(0), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        let fixed = [
            (1, "71e0a99173564931c0b8acc52d2685a8e39c64dc52e3d02390fdac2a12b155cb"),
            (2, "c40c9af0df7751e95fcbb3b8cb81f115f5469a017ef6631137f5f4fbe4ecc325"),
            (3, "f424ca274e29cfd7fdcbfb8cb78c32389c07e946931d63dcb039190316ce22e2"),
            (7, "cd37d59a3b42089351bf206f1d04ab660b2ad91a9abe61282e521fec9ca7d981"),
            (257, "2df03f11d155132830674a3e7dc24d51ec98a77c3951a80f6d9e172007cb4016"),
        ];
        for (n, root) in fixed {
            assert_eq!(of(n), root, "{n}");
        }
    }
}
