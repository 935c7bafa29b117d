//! The socket as tungstenite sees it. Reading is reading; what tungstenite writes, pongs and closes, is set aside here, and
//! goes out between two of the hub's frames: [`super::connection`] writes it, once no pump can.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::outlet::SLICES;
use super::socket::Socket;

/// Bytes that may be set aside. A peer that asks for more pongs than it reads isn't read from either.
const ASIDE_MAX: usize = 1024;
/// Bytes read in one turn. tungstenite reads on until a message is whole, and a hostile one never is.
const TURN: usize = 16 * 1024;

/// A connection's socket.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    aside: Vec<u8>,
    /// Bytes that were read in this turn.
    read: usize,
    /// When the peer was last heard of.
    heard: Instant,
}

impl Wire {
    /// Over a socket.
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, aside: Vec::new(), read: 0, heard: Instant::now() }
    }

    /// When the peer was last heard of.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// What is set aside to be written.
    pub(super) fn aside(&self) -> &[u8] {
        &self.aside
    }

    /// The first bytes of it are written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.aside.drain(..bytes);
        if self.aside.is_empty() {
            self.aside = Vec::new();
        }
    }

    /// Whether so much is set aside that nothing should be read.
    pub(super) fn is_full(&self) -> bool {
        self.aside.len() >= ASIDE_MAX
    }

    /// Begins a turn of reading.
    pub(super) fn begin_turn(&mut self) {
        self.read = 0;
    }

    /// Whether enough was read: there may be more, but nothing comes before the next turn.
    pub(super) fn is_turn_over(&self) -> bool {
        self.read >= TURN
    }

    /// Ready once there is something to read.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_readable(cx)
    }

    /// Ready once what was written has left.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush(cx)
    }

    /// Writes to the socket itself, in one call: the rest of what was begun, what is set aside, and what comes behind.
    pub(super) fn poll_write<'a>(
        &mut self,
        cx: &mut Context<'_>,
        begun: Option<&'a [u8]>,
        behind: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        let aside = if self.aside.is_empty() { None } else { Some(&self.aside[..]) };
        for bytes in begun.into_iter().chain(aside) {
            slices[used] = IoSlice::new(bytes);
            used += 1;
        }
        for bytes in behind.take(SLICES - used) {
            slices[used] = IoSlice::new(bytes);
            used += 1;
        }
        match ready!(self.socket.poll_write(cx, &slices[..used])) {
            Ok(0) => Poll::Ready(Err(ErrorKind::WriteZero.into())),
            written => Poll::Ready(written),
        }
    }

    /// Reads and drops what comes; `true` at its end.
    pub(super) fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut scrap = [0; 1024];
        loop {
            if ready!(self.poll_readable(cx)).is_err() {
                return Poll::Ready(true);
            }
            match self.socket.try_read(&mut scrap) {
                Ok(0) => return Poll::Ready(true),
                Ok(_) => {}
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(true),
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.is_turn_over() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = self.socket.try_read(into)?;
        self.read += read;
        self.heard = Instant::now();
        Ok(read)
    }
}

impl Write for Wire {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.is_full() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.aside.extend_from_slice(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
