//! Where a table's columns are, by what they are called there. Never: what is in a row.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use csv::StringRecord;

use super::rows::Rows;
use crate::error::Fault;

/// A table's columns, by our names.
pub(super) struct Table {
    /// Those that it must have.
    needed: &'static [&'static str],
    /// Those that it may have.
    others: &'static [&'static str],
}

pub(super) const VOTES: Table =
    Table { needed: &["clip_id", "vote_weight", "slot_position", "created_at"], others: &["vote_type", "flagged"] };
pub(super) const COMMENTS: Table = Table {
    needed: &["id", "clip_id", "comment_text", "created_at"],
    others: &["username", "avatar_url", "parent_comment_id", "is_deleted"],
};
/// Whose a row is: both tables have one of these, or both columns.
const WHOSE: [&str; 2] = ["user_id", "voter_key"];

/// Places of columns, by what they are called there.
pub(super) type Places = HashMap<String, usize>;

impl Table {
    fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.needed.iter().chain(&WHOSE).chain(self.others).copied()
    }

    /// Where a table's columns are, of its first row.
    pub(super) fn places(
        &self,
        file: &Path,
        names: &StringRecord,
        called: &BTreeMap<String, String>,
    ) -> Result<Places, Fault> {
        let file = file.display();
        let theirs = |ours: &'static str| called.get(ours).map_or(ours, String::as_str);
        for name in self.columns().map(theirs) {
            if names.iter().filter(|at| at.trim() == name).count() > 1 {
                return Err(Fault::Setting(format!("{file} has two columns {name}: which one is meant?")));
            }
        }
        let places: Places = names.iter().enumerate().map(|(at, name)| (name.trim().to_owned(), at)).collect();
        if let Some(absent) = self.needed.iter().copied().map(theirs).find(|name| !places.contains_key(*name)) {
            return Err(Fault::Setting(format!("{file} has no column {absent}: --map names them")));
        }
        let [user, device] = WHOSE.map(theirs);
        if !places.contains_key(user) && !places.contains_key(device) {
            let why = format!("{file} has neither a column {user} nor {device}: --map names them");
            return Err(Fault::Setting(why));
        }
        Ok(places)
    }
}

/// Refuses tables that don't have the columns that they need, and a name that `called` gives to a column which none of them has:
/// all of it would pass for empty.
pub fn check(votes: &Path, comments: Option<&Path>, called: &BTreeMap<String, String>) -> Result<(), Fault> {
    let tables = [(&VOTES, Some(votes)), (&COMMENTS, comments)];
    let tables = tables.into_iter().filter_map(|(table, file)| Some((table, file?)));
    let mut found = Vec::new();
    for (table, file) in tables {
        let looked = std::fs::metadata(file);
        if !looked.map_err(|why| Fault::io(format!("looking at {}", file.display()), &why))?.is_file() {
            return Err(Fault::Setting(format!("{} is no file, and a table is read several times", file.display())));
        }
        let names = Rows::open(file)?.names()?;
        found.push((table, file, table.places(file, &names, called)?));
    }
    for (ours, theirs) in called {
        let of: Vec<_> = found.iter().filter(|(table, ..)| table.columns().any(|column| column == ours)).collect();
        let Some((_, file, _)) = of.first() else { continue };
        if !of.iter().any(|(.., places)| places.contains_key(theirs)) {
            let file = file.display();
            return Err(Fault::Setting(format!("{file} has no column {theirs}, which --map gives as its {ours}")));
        }
    }
    Ok(())
}
