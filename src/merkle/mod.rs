//! What a result rests on, byte for byte: leaves, the tree over them, the certificate, proofs and exports. Pure: no store, no
//! clock. `tests/certificate/verify.py` checks all of it by this page alone.
//!
//! # Bytes
//!
//! Hashes are BLAKE3, 32 bytes, written in lower-case hex. A field is one byte with its length, then its bytes. Text is
//! UTF-8. `u16`, `u32` and `u64` are big-endian.
//!
//! ```text
//! c        BLAKE3( field(VoterId, 16 bytes) ‖ field(season id) ‖ field(slot's position, u32) )
//! leaf     BLAKE3( 0x00 ‖ field(c) ‖ field(clip id) ‖ field(type, 1 byte) ‖ field(weight, u16) ‖ field(sequence, u64) )
//!          type: 0 standard, 1 super, 2 mega
//! node     BLAKE3( 0x01 ‖ left ‖ right )
//! empty    BLAKE3( no bytes )
//! ```
//!
//! The leaves of a slot are its ballots that were cast before its freeze, at sequence N, and not taken back; ordered by c, then by
//! sequence. No time, flag or network is in one. The tree over them is RFC 9162's (2.1.1): a list of n > 1 is split behind
//! the largest power of two below n. Inclusion proofs are made and checked as in 2.1.3.
//!
//! c stands for a voter: it tells nobody who that is who has not the `VoterId`, which is a keyed hash itself, and it differs
//! from slot to slot.
//!
//! # The certificate
//!
//! ```text
//! {"format": 1, "store": hex of 16 bytes, "number": 1, "previous": null or the hash of the certificate that this one replaces,
//!  "season": id, "slot": position, "sequence": N as a decimal string,
//!  "chain": {"first": …, "last": …, "hash": hex} or null, "winnerClipId": id or null, "winnerBy": "count" or "hand",
//!  "clips": [{"clipId": id, "voteCount": n, "weightedScore": n}, …], "leaves": n, "root": hex, "voids": [index, …], "hash": hex}
//! ```
//!
//! `clips` are all of the slot's, in the order in which they were added; their counts leave out the leaves whose indexes (from 0,
//! ascending) are in `voids`: those are masked by a void, and stay leaves. `winnerBy` is `count` when the winner has the highest
//! weight, then the most votes, then was added first. `chain` is the block of the log that holds event N: its first and last
//! sequence as decimal strings, and its hash, which covers all events before; null for a slot that was frozen before such
//! hashes were kept. `hash` is
//!
//! ```text
//! BLAKE3( 0x02 ‖ field(format, u64) ‖ field(store, 16 bytes) ‖ field(number, u64) ‖ field(previous, 32 bytes or none)
//!         ‖ field(season) ‖ field(slot, u64) ‖ field(sequence, u64)
//!         ‖ field(chain's first, u64) ‖ field(chain's last, u64) ‖ field(chain's hash)       (null: three empty fields)
//!         ‖ field(winner or none) ‖ field(winnerBy) ‖ field(leaves, u64) ‖ field(root)
//!         ‖ field(number of clips, u64), for each: field(id) ‖ field(votes, u64) ‖ field(weight, u64)
//!         ‖ field(number of voids, u64), for each: field(index, u64) )
//! ```
//!
//! Each void that takes effect behind the lock, and each that is lifted, makes another certificate: its `format` is 2, its `number`
//! one more, its `previous` the hash of the one before, and behind that it has `"void": {"id": the void's id as a decimal string,
//! "lifted": whether it was lifted by this}`. Behind all of the above its hash covers `field(id, u64) ‖ field(lifted, u64: 0 or 1)`.
//! The leaves and the root stay. The winner follows the counts, unless the lock's was named by an operator.
//!
//! # A proof
//!
//! ```text
//! {"season", "slot", "index": i, "size": n, "leaf": {"c", "clipId", "voteType", "weight", "sequence"}, "leafHash": hex,
//!  "path": [hex, …], "root": hex}
//! ```
//!
//! # An export of a slot
//!
//! Lines of JSON: `{"certificate": {…}}`, then every leaf in order, as in a proof. Nothing behind them.

mod audit;
mod certificate;
mod leaf;
mod nodes;
mod tree;

pub use audit::{Audit, ExportHead, read_export};
pub use certificate::{
    Certificate, ChainAt, ClipResult, FORMAT, FORMAT_AFTER_VOID, HexHash, Proof, VoidNamed, WinnerBy,
};
pub use leaf::{Leaf, Scope, kind_code, leaf_hash};
pub use tree::{Hash, Tree, empty, hex, node, path, path_of, root_of, root_over, root_through, unhex, verify};
