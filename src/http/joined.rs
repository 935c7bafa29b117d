//! A connection that writes a small answer in one piece. hyper hands over its head and its body as two, and for two pieces the
//! kernel takes a longer way than for one, which costs a vote more than copying its answer. Never: holds anything back.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of the largest answer that is joined, on the stack; a vote's has about 400.
const SMALL: usize = 1024;

/// A stream, as its own but for small writes of several pieces.
#[derive(Debug)]
pub(super) struct Joined<S>(pub(super) S);

impl<S: AsyncRead + Unpin> AsyncRead for Joined<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Joined<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut small = [0; SMALL];
        match join(pieces, &mut small) {
            Some(joined) => Pin::new(&mut self.0).poll_write(cx, joined),
            None => Pin::new(&mut self.0).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The pieces one behind the other, if there is room for all of them.
fn join<'a>(pieces: &[IoSlice<'_>], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for piece in pieces {
        room.get_mut(length..)?.get_mut(..piece.len())?.copy_from_slice(piece);
        length += piece.len();
    }
    Some(&room[..length])
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What writes it was asked for: how many bytes each, and of how many pieces. It takes five bytes at a time.
    #[derive(Default)]
    struct Told(Vec<(usize, usize)>, Vec<u8>);

    impl AsyncWrite for Told {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push((bytes.len(), 1));
            let taken = bytes.len().min(5);
            self.1.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.0.push((pieces.iter().map(|piece| piece.len()).sum(), pieces.len()));
            Poll::Ready(Ok(0))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn small_pieces_are_one_write_and_large_ones_stay_apart() {
        let mut told = Joined(Told::default());
        let (head, body) = ([1; 400], [2; 624]);
        let longer = [3; 625];
        let mut taken = Vec::new();
        for pieces in [vec![&head[..], &body], vec![&head, &longer], vec![], vec![&head[..2], &body[..2], &[]]] {
            let pieces: Vec<_> = pieces.into_iter().map(IoSlice::new).collect();
            taken.push(told.write_vectored(&pieces).await.unwrap());
        }
        assert_eq!(taken, [5, 0, 0, 4], "what of each was taken");
        assert_eq!(told.0.0, [(1_024, 1), (1_025, 2), (0, 1), (4, 1)]);
        assert_eq!(told.0.1, [1, 1, 1, 1, 1, 1, 1, 2, 2], "in order");
    }

    #[tokio::test]
    async fn all_else_goes_through() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Joined(near);
        near.write_all(b"there").await.unwrap();
        far.write_all(b"back").await.unwrap();
        near.flush().await.unwrap();
        near.shutdown().await.unwrap();
        drop(far.shutdown().await);
        let mut come = (String::new(), String::new());
        far.read_to_string(&mut come.0).await.unwrap();
        near.read_to_string(&mut come.1).await.unwrap();
        assert_eq!(come, ("there".into(), "back".into()));
    }
}
