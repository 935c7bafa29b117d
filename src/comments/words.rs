//! Words that hold a comment for a moderator. A word is found whatever its case and whatever stands around it, and never
//! inside another word.

use std::collections::HashSet;
use std::path::Path;

use unicode_normalization::UnicodeNormalization;

use crate::error::Fault;

/// Bytes of a list's file at most.
const FILE_MAX: u64 = 1 << 20;

/// A list of words and phrases.
#[derive(Clone, Debug, Default)]
pub struct WordList {
    words: HashSet<String>,
    /// Several words in a row, with a space at each end.
    phrases: Vec<String>,
}

impl WordList {
    /// A word or phrase a line; empty lines and those that begin with `#` say nothing.
    pub fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let words: Vec<String> = words(line).collect();
            match words.as_slice() {
                [] => {}
                [one] => drop(list.words.insert(one.clone())),
                several => list.phrases.push(format!(" {} ", several.join(" "))),
            }
        }
        list
    }

    /// Reads a list from a file of at most 1 MiB.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let reading = |why: &std::io::Error| Fault::io(format!("reading {}", path.display()), why);
        let length = std::fs::metadata(path).map_err(|why| reading(&why))?.len();
        if length > FILE_MAX {
            return Err(Fault::Setting(format!("{} has {length} bytes, more than {FILE_MAX}", path.display())));
        }
        Ok(Self::parse(&std::fs::read_to_string(path).map_err(|why| reading(&why))?))
    }

    /// Whether a text contains one of them.
    pub fn finds(&self, text: &str) -> bool {
        if self.words.is_empty() && self.phrases.is_empty() {
            return false;
        }
        let found: Vec<String> = words(text).collect();
        if found.iter().any(|word| self.words.contains(word)) {
            return true;
        }
        let row = format!(" {} ", found.join(" "));
        self.phrases.iter().any(|phrase| row.contains(phrase))
    }

    /// How many words and phrases are in it.
    pub fn len(&self) -> usize {
        self.words.len() + self.phrases.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A text's words in one form: compatible characters and cases folded together, what is neither letter nor digit between.
fn words(text: &str) -> impl Iterator<Item = String> {
    let folded: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let words: Vec<String> =
        folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_whole_whatever_its_case_and_form() {
        let list = WordList::parse("# a comment\n\nSpam\nbuy  now\nSTRASSE\n");
        assert_eq!(list.len(), 3);
        for held in ["spam", "No SPAM!", "\u{ff33}\u{ff30}\u{ff21}\u{ff2d}", "so: buy, now", "Strasse"] {
            assert!(list.finds(held), "{held}");
        }
        for fine in ["spammer", "buy it now", "", "nowbuy"] {
            assert!(!list.finds(fine), "{fine}");
        }
        assert!(!WordList::default().finds("spam"));
    }
}
