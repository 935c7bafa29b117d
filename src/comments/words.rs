//! Words that hold a comment for a moderator. A word is found whatever its case, whatever stands around it and whatever is
//! put into it that can't be seen, and never inside another word.

use std::collections::HashSet;
use std::path::Path;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

use crate::domain::is_ignorable;
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

/// A text's words in one form: compatible characters and cases folded together, without what can't be seen and strokes and
/// accents that stand alone; what is neither letter nor digit nor a mark on one lies between.
fn words(text: &str) -> impl Iterator<Item = String> {
    let folded = text.nfkc().flat_map(char::to_lowercase).filter(|c| !is_ignorable(*c) && !decorates(*c));
    let folded: String = folded.collect();
    let between = |c: char| !c.is_alphanumeric() && !is_combining_mark(c);
    let words: Vec<String> = folded.split(between).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    words.into_iter()
}

/// A stroke through a letter, or an accent that no letter has taken in: any letter can be given one. Signs of vowels and the
/// like, which make a word another, are none.
fn decorates(c: char) -> bool {
    matches!(canonical_combining_class(c), 1 | 200..)
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

    #[test]
    fn what_cannot_be_seen_hides_no_word() {
        let list = WordList::parse("spam\nbuy now\n\u{915}\u{94d}\u{92f}\u{93e}\n");
        for held in [
            "sp\u{200b}am",
            "s\u{ad}p\u{2060}a\u{feff}m",
            "sp\u{336}a\u{336}m\u{336}",
            "SPA\u{34f}M",
            "bu\u{200d}y n\u{180e}ow",
            "\u{915}\u{94d}\u{92f}\u{93e}!",
        ] {
            assert!(list.finds(held), "{held:?}");
        }
        // A dot that a capital carried is no gap: the word goes on behind it.
        assert!(WordList::parse("idil").finds("\u{130}D\u{130}L"));
        for fine in ["sp am", "\u{915}\u{94d}\u{92f}", "\u{92f}\u{93e}"] {
            assert!(!list.finds(fine), "{fine:?}");
        }
    }
}
