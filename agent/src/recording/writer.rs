//! Recordings, as they are written.

use std::io::{self, Write};

use super::{Fact, Frame, MAGIC, MAX_FRAME, Recorder, VERSION};

/// The kind of a frame that holds a [`Fact`].
pub(super) const FACT: u8 = 1;
/// The kind of a frame that holds a record.
pub(super) const RECORD: u8 = 2;

/// A recording that is written, up to a limit. `output` should be buffered.
#[derive(Debug)]
pub struct Writer<W: Write> {
    output: W,
    limit: u64,
    bytes: u64,
    is_full: bool,
}

/// Whether a frame is in the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// It is.
    Yes,
    /// It is not, for the recording is full, or the frame is larger than any may be.
    No,
}

impl<W: Write> Writer<W> {
    /// Starts a recording of at most `limit` bytes; its start and its last frame are written whatever they take.
    pub fn new(output: W, limit: u64, recorder: Recorder) -> io::Result<Self> {
        let mut writer = Self { output, limit, bytes: 0, is_full: false };
        let head = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
        writer.output.write_all(&head)?;
        writer.bytes = head.len() as u64;
        writer.put(FACT, &json(&Fact::Recorder(recorder))?)?;
        Ok(writer)
    }

    /// Adds a frame, unless the recording is full. Once one did not fit, no other is taken: a recording has no gaps.
    pub fn write(&mut self, frame: &Frame) -> io::Result<Taken> {
        match frame {
            Frame::Fact(fact) => self.fact(fact),
            Frame::Record(bytes) => self.record(bytes),
        }
    }

    /// As [`Writer::write`].
    pub fn fact(&mut self, fact: &Fact) -> io::Result<Taken> {
        self.add(FACT, &json(fact)?)
    }

    /// As [`Writer::write`].
    pub fn record(&mut self, bytes: &[u8]) -> io::Result<Taken> {
        self.add(RECORD, bytes)
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a frame did not fit.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// Ends the recording with its last frame.
    pub fn finish(mut self, end: &Fact) -> io::Result<W> {
        self.put(FACT, &json(end)?)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn add(&mut self, kind: u8, content: &[u8]) -> io::Result<Taken> {
        let bytes = self.bytes.saturating_add(5).saturating_add(content.len() as u64);
        if content.len() as u64 > u64::from(MAX_FRAME) {
            return Ok(Taken::No);
        }
        self.is_full |= bytes > self.limit;
        if self.is_full {
            return Ok(Taken::No);
        }
        self.put(kind, content)?;
        Ok(Taken::Yes)
    }

    fn put(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        self.output.write_all(&length.to_le_bytes())?;
        self.output.write_all(&[kind])?;
        self.output.write_all(content)?;
        self.bytes = self.bytes.saturating_add(5).saturating_add(length.into());
        Ok(())
    }
}

fn json(fact: &Fact) -> io::Result<Vec<u8>> {
    serde_json::to_vec(fact).map_err(io::Error::other)
}
