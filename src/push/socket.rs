//! The bytes under a connection: TCP, or TLS over it. Both read without waiting once they have said that there is something.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::outlet::Outlet;
use super::pumps::Pumps;
use crate::hub::Outbox;

/// Bytes of plain text read ahead of who reads them.
const AHEAD: usize = 1024;

/// A socket as it is handed over.
#[derive(Debug)]
pub enum Given {
    /// Plain.
    Tcp(TcpStream),
    /// Under TLS. Boxed: most of a TLS session's state would else be room that every connection has.
    Tls(Box<Tls>),
}

/// A connection's socket.
#[derive(Debug)]
pub(super) enum Socket {
    /// As the system has it, in the outlet: the connection's task is not the only one that writes to it.
    Tcp(Arc<Outlet>),
    /// Its state and what was read ahead.
    Tls(Box<Tls>),
}

/// TLS tells only while reading whether there is anything, so it is read ahead.
#[derive(Debug)]
pub struct Tls {
    stream: TlsStream<TcpStream>,
    ahead: Vec<u8>,
    ended: bool,
}

impl From<TcpStream> for Given {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<TlsStream<TcpStream>> for Given {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(Tls { stream, ahead: Vec::new(), ended: false }))
    }
}

impl Socket {
    /// A socket and its outlet, for a connection that takes from this outbox.
    pub(super) fn new(given: Given, pumps: &Arc<Pumps>, outbox: Option<Outbox>) -> (Self, Arc<Outlet>) {
        let outlet = |tcp| Arc::new(Outlet::new(tcp, Arc::clone(pumps), outbox));
        match given {
            Given::Tcp(tcp) => {
                let outlet = outlet(Some(tcp));
                (Self::Tcp(Arc::clone(&outlet)), outlet)
            }
            Given::Tls(tls) => (Self::Tls(tls), outlet(None)),
        }
    }

    /// Ready once there is something to read, or its end.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tls = match self {
            Self::Tcp(outlet) => return tcp(outlet).poll_read_ready(cx),
            Self::Tls(tls) => tls,
        };
        if tls.ended || !tls.ahead.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut room = [0; AHEAD];
        let mut read = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut tls.stream).poll_read(cx, &mut read))?;
        tls.ended = read.filled().is_empty();
        tls.ahead.extend_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }

    /// Reads what is there; 0 at the end, [`ErrorKind::WouldBlock`] when there is nothing yet.
    pub(super) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let tls = match self {
            Self::Tcp(outlet) => return tcp(outlet).try_read(into),
            Self::Tls(tls) => tls,
        };
        if tls.ahead.is_empty() {
            return if tls.ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let taken = tls.ahead.len().min(into.len());
        into[..taken].copy_from_slice(&tls.ahead[..taken]);
        tls.ahead.drain(..taken);
        if tls.ahead.is_empty() {
            // Thousands of viewers say nothing for minutes.
            tls.ahead = Vec::new();
        }
        Ok(taken)
    }

    /// Writes some of it.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let tcp = match self {
            Self::Tcp(outlet) => tcp(outlet),
            Self::Tls(tls) => return Pin::new(&mut tls.stream).poll_write_vectored(cx, slices),
        };
        loop {
            ready!(tcp.poll_write_ready(cx))?;
            // One frame is the usual case, and a plain write is the cheaper call for it.
            let written = if let [one] = slices { tcp.try_write(one) } else { tcp.try_write_vectored(slices) };
            match written {
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Ready once what was written has left: TLS may still hold some of it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_flush(cx),
        }
    }
}

fn tcp(outlet: &Outlet) -> &TcpStream {
    outlet.tcp().expect("it was made with one")
}
