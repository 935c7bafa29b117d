//! What a table's rows are written into, and what counts and hashes them on their way. Never: knows what a row is.

use std::io::{self, Write};

use super::hex;

/// Lines are gathered to this much before they are written.
pub(super) const GATHERED: usize = 128 * 1024;

/// Takes a table's rows. Who has its first rows already says so, and who goes on later learns where whole rows end.
pub trait RowSink: Write {
    /// Rows of the table that are there already: they are counted and not written, and neither is the header.
    fn has(&self) -> u64 {
        0
    }

    /// Rows are gathered to so many bytes before they are written.
    fn gathers(&self) -> usize {
        GATHERED
    }

    /// Takes lines. With them the table's first `rows` rows are whole, and nothing of the next is there.
    fn write_rows(&mut self, lines: &[u8], rows: u64) -> io::Result<()> {
        let _ = rows;
        self.write_all(lines)
    }
}

impl RowSink for Vec<u8> {}

impl RowSink for io::Sink {}

/// Counts and hashes what is written through it.
#[derive(Debug)]
pub(super) struct Hashed<W> {
    pub(super) to: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    pub(super) fn new(to: W) -> Self {
        Self::behind(to, blake3::Hasher::new(), 0)
    }

    /// Goes on behind so many bytes, which `hasher` has seen.
    pub(super) fn behind(to: W, hasher: blake3::Hasher, bytes: u64) -> Self {
        Self { to, hasher, bytes }
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Their hash, in hex.
    pub(super) fn blake3(&self) -> String {
        hex(self.hasher.finalize().as_bytes())
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<W: Write> RowSink for Hashed<W> {}
