//! `plaudit::tally`, by its own files, for `--cfg plaudit_loom`.

pub mod tally;
