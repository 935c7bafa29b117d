//! A slot's leaves held against its certificate: every difference by its name.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Read};

use serde::{Deserialize, Serialize};

use super::certificate::{Certificate, ClipResult};
use super::leaf::Leaf;
use super::tree::{Hash, Tree, hex};
use crate::domain::{ClipId, Seq};
use crate::error::Fault;

/// Problems kept at most; the rest are counted.
const LISTED: usize = 100;
/// Bytes of a line of an export: a certificate of as many clips as a store may hold, and no more.
const LINE_MAX: u64 = 32 << 20;

/// Leaves as they come, one after the other.
#[derive(Debug, Default)]
pub struct Audit {
    tree: Tree,
    counts: HashMap<ClipId, (u64, u64)>,
    /// The newest leaf's place in the order.
    last: Option<(Hash, Seq)>,
    /// Clips that its voter has a leaf for.
    voted: HashSet<ClipId>,
    /// The largest sequence.
    newest: Seq,
    problems: Vec<String>,
    wrong: u64,
}

impl Audit {
    /// Takes the next leaf; gives its hash. `counts`: no void masks it.
    pub fn take(&mut self, leaf: &Leaf, counts: bool) -> Hash {
        let at = self.tree.leaves();
        let place = (leaf.c, leaf.sequence);
        if self.last.is_none_or(|(c, _)| c != leaf.c) {
            self.voted.clear();
        }
        if self.last.is_some_and(|last| last >= place) {
            self.note(format!("leaf {at}: it does not come behind the one before it, by c and sequence"));
        }
        if !self.voted.insert(leaf.clip_id.clone()) {
            self.note(format!("leaf {at}: a second ballot of one voter for clip {}", leaf.clip_id));
        }
        self.last = Some(place);
        self.newest = self.newest.max(leaf.sequence);
        if counts {
            let sum = match self.counts.get_mut(&leaf.clip_id) {
                Some(sum) => sum,
                None => self.counts.entry(leaf.clip_id.clone()).or_default(),
            };
            *sum = (sum.0 + 1, sum.1 + u64::from(leaf.weight));
        }
        let hash = leaf.hash();
        self.tree.push(hash);
        hash
    }

    /// Notes something else that is wrong.
    pub fn note(&mut self, problem: String) {
        self.wrong += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }

    /// Leaves so far.
    pub fn leaves(&self) -> u64 {
        self.tree.leaves()
    }

    /// The root over them.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// A clip's votes and weight.
    pub fn counts(&self, clip: &ClipId) -> (u64, u64) {
        self.counts.get(clip).copied().unwrap_or_default()
    }

    /// Holds what was taken against a certificate; gives what is wrong, at most a hundred, and how much in all.
    pub fn against(mut self, certificate: &Certificate) -> (Vec<String>, u64) {
        for problem in certificate.contradictions() {
            self.note(problem);
        }
        for ClipResult { clip_id, vote_count, weighted_score } in &certificate.clips {
            let (votes, weight) = self.counts.remove(clip_id).unwrap_or_default();
            if (votes, weight) != (*vote_count, *weighted_score) {
                self.note(format!(
                    "clip {clip_id}: certified {vote_count} votes of weight {weighted_score}, the ballots are {votes} of {weight}"
                ));
            }
        }
        let mut strays: Vec<_> = self.counts.drain().collect();
        strays.sort();
        for (clip, (votes, _)) in strays {
            self.note(format!("clip {clip}: {votes} ballots are for it, and the certificate does not know it"));
        }
        let (leaves, root) = (self.leaves(), self.root());
        if leaves != certificate.leaves {
            self.note(format!("the certificate is of {} ballots, there are {leaves}", certificate.leaves));
        }
        if self.newest >= certificate.sequence {
            let (newest, freeze) = (self.newest, certificate.sequence);
            self.note(format!("a ballot has sequence {newest}, and the freeze is {freeze}"));
        }
        if root != certificate.root {
            self.note(format!("the root: certified {}, the ballots give {}", hex(&certificate.root), hex(&root)));
        }
        (self.problems, self.wrong)
    }
}

/// The first line of an export.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportHead {
    /// What the leaves behind it are held against.
    pub certificate: Certificate,
}

/// Reads a slot's export to its end. A line that can't be read is an error; what differs is given as problems.
pub fn read_export(from: impl BufRead) -> Result<(Certificate, Vec<String>, u64), Fault> {
    let mut lines = Lines { from, number: 0, line: String::new() };
    let Some(head) = lines.next_as::<ExportHead>()? else {
        return Err(Fault::Setting("the export is empty: its first line must be a certificate".into()));
    };
    let certificate = head.certificate;
    let mut audit = Audit::default();
    let mut voids = certificate.voids.iter().copied().peekable();
    while let Some(leaf) = lines.next_as::<Leaf>()? {
        let masked = voids.next_if_eq(&audit.leaves()).is_some();
        audit.take(&leaf, !masked);
    }
    let (problems, wrong) = audit.against(&certificate);
    Ok((certificate, problems, wrong))
}

struct Lines<R> {
    from: R,
    number: u64,
    line: String,
}

impl<R: BufRead> Lines<R> {
    fn next_as<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>, Fault> {
        self.line.clear();
        self.number += 1;
        let number = self.number;
        let mut bounded = self.from.by_ref().take(LINE_MAX);
        let read =
            bounded.read_line(&mut self.line).map_err(|why| Fault::io(format!("reading line {number}"), &why))?;
        if read == 0 {
            return Ok(None);
        }
        let value = serde_json::from_str(self.line.trim_end());
        value.map(Some).map_err(|why| Fault::Setting(format!("the export's line {number} can't be read: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::tests::certificate;
    use super::*;
    use crate::domain::VoteKind;

    fn leaf(c: u8, clip: usize, sequence: Seq) -> Leaf {
        let clip_id = ClipId::new(&format!("c{clip}")).unwrap();
        Leaf { c: [c; 32], clip_id, kind: VoteKind::Super, weight: 3, sequence }
    }

    /// Four ballots of three voters.
    fn leaves() -> Vec<Leaf> {
        vec![leaf(1, 0, 9), leaf(2, 1, 5), leaf(2, 0, 7), leaf(3, 0, 2)]
    }

    fn certified(leaves: &[Leaf]) -> Certificate {
        let mut audit = Audit::default();
        for leaf in leaves {
            audit.take(leaf, true);
        }
        let counts: Vec<_> = (0..2).map(|n| audit.counts(&ClipId::new(&format!("c{n}")).unwrap())).collect();
        Certificate { leaves: audit.leaves(), root: audit.root(), ..certificate(&counts) }.sealed()
    }

    fn export(certificate: &Certificate, leaves: &[Leaf]) -> String {
        let head = serde_json::to_string(&ExportHead { certificate: certificate.clone() }).unwrap();
        let lines = leaves.iter().map(|leaf| serde_json::to_string(leaf).unwrap());
        std::iter::once(head).chain(lines).map(|line| line + "\n").collect()
    }

    fn problems(certificate: &Certificate, leaves: &[Leaf]) -> Vec<String> {
        let (read, problems, wrong) = read_export(export(certificate, leaves).as_bytes()).unwrap();
        assert_eq!((&read, problems.len() as u64), (certificate, wrong));
        problems
    }

    #[test]
    fn a_sound_export_is_found_sound_with_voids_too() {
        let certificate = certified(&leaves());
        assert_eq!(problems(&certificate, &leaves()), Vec::<String>::new());
        let mut masked = Certificate { voids: vec![0, 2], ..certificate };
        (masked.clips[0].vote_count, masked.clips[0].weighted_score) = (1, 3);
        assert_eq!(problems(&masked.sealed(), &leaves()), Vec::<String>::new());
    }

    #[test]
    fn what_was_done_to_an_export_is_named() {
        let certificate = certified(&leaves());
        let named = |change: &dyn Fn(&mut Vec<Leaf>)| {
            let mut leaves = leaves();
            change(&mut leaves);
            problems(&certificate, &leaves).join("\n")
        };
        let dropped = named(&|leaves| drop(leaves.remove(3)));
        assert!(dropped.contains("clip c0: certified 3 votes of weight 9, the ballots are 2 of 6"), "{dropped}");
        assert!(dropped.contains("the certificate is of 4 ballots, there are 3"), "{dropped}");
        let doubled = named(&|leaves| leaves.push(leaves[3].clone()));
        assert!(doubled.contains("leaf 4: a second ballot of one voter for clip c0"), "{doubled}");
        assert!(doubled.contains("leaf 4: it does not come behind the one before it"), "{doubled}");
        let moved = named(&|leaves| leaves.swap(0, 1));
        assert!(moved.contains("leaf 1: it does not come behind"), "{moved}");
        let swapped = named(&|leaves| leaves[0].weight = 4);
        assert!(swapped.contains("the root: certified"), "{swapped}");
        let late = named(&|leaves| leaves[0].sequence = 70_000);
        assert!(late.contains("a ballot has sequence 70000, and the freeze is 70000"), "{late}");
        let stray = named(&|leaves| leaves[0].clip_id = ClipId::new("zz").unwrap());
        assert!(stray.contains("clip zz: 1 ballots are for it, and the certificate does not know it"), "{stray}");
    }

    #[test]
    fn an_altered_count_is_named_though_its_hash_was_made_to_fit() {
        let mut altered = certified(&leaves());
        altered.clips[1].vote_count += 1;
        let problems = problems(&altered.sealed(), &leaves());
        assert_eq!(problems, ["clip c1: certified 2 votes of weight 3, the ballots are 1 of 3"]);
    }

    #[test]
    fn what_is_no_export_is_an_error_that_names_the_line() {
        assert!(read_export(&b""[..]).is_err());
        let cut = export(&certified(&leaves()), &leaves());
        let why = read_export(&cut.as_bytes()[..cut.len() - 9]).unwrap_err();
        assert!(why.to_string().contains("line 5"), "{why}");
    }
}
