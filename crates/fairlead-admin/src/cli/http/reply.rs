//! A reply that is read as it comes, by lines or whole.

use std::collections::VecDeque;

use axum::body::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::HttpError;

/// The longest line and the largest single answer that is read, bytes.
const LONGEST: usize = 16 << 20;

/// A reply, its body still to come.
pub(super) struct Reply {
    /// The status.
    pub(super) status: u16,
    body: BoxStream<'static, Result<Bytes, HttpError>>,
    read: VecDeque<u8>,
    /// How much of `read` holds no end of a line.
    searched: usize,
}

impl Reply {
    /// With a body that comes in pieces.
    pub(super) fn new(status: u16, body: BoxStream<'static, Result<Bytes, HttpError>>) -> Self {
        Reply { status, body, read: VecDeque::new(), searched: 0 }
    }

    /// The whole body.
    pub(super) async fn collect(mut self) -> Result<Vec<u8>, HttpError> {
        while self.more().await? {}
        Ok(self.read.into())
    }

    /// The next line without its end; `None` after the last.
    pub(super) async fn line(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            if let Some(end) = self.read.iter().skip(self.searched).position(|byte| *byte == b'\n') {
                let end = self.searched + end;
                let line = self.read.drain(..=end).take(end).collect();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.read.len();
            if !self.more().await? {
                let rest = std::mem::take(&mut self.read);
                return Ok((!rest.is_empty()).then(|| rest.into()));
            }
        }
    }

    async fn more(&mut self) -> Result<bool, HttpError> {
        match self.body.next().await {
            None => Ok(false),
            Some(Err(cause)) => Err(cause),
            Some(Ok(bytes)) if self.read.len() + bytes.len() > LONGEST => {
                Err(HttpError::Broken(format!("more than {LONGEST} bytes in one piece")))
            }
            Some(Ok(bytes)) => {
                self.read.extend(bytes);
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_found_however_the_body_is_cut() {
        let pieces = ["a", "b\nc", "\n\nde", "f"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let mut reply = Reply::new(200, futures::stream::iter(pieces).boxed());
        let mut lines = Vec::new();
        while let Some(line) = reply.line().await.unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["ab", "c", "", "def"]);
    }
}
