//! Recordings, frame by frame.

use std::io::{self, Read};

use super::{Fact, Frame, MAGIC, MAX_FRAME, RECORD_VERSION, Recorder, RecordingError, VERSION};
use crate::recording::writer::{FACT, RECORD};

/// A recording that is read: its frames behind the first one, and at most one error, the last.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    recorder: Recorder,
    place: Place,
    is_over: bool,
}

/// Where it is read.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Bytes before the frame that is read now.
    at: u64,
    /// The number of that frame.
    frame: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the head. `source` should be buffered.
    pub fn new(mut source: R) -> Result<Self, RecordingError> {
        let mut head = Vec::new();
        let length = MAGIC.len() + size_of_val(&VERSION);
        source.by_ref().take(length as u64).read_to_end(&mut head).map_err(RecordingError::Read)?;
        let magic = head.get(..head.len().min(MAGIC.len())).unwrap_or_default();
        if magic.is_empty() || !MAGIC.starts_with(magic) {
            return Err(RecordingError::Foreign);
        }
        let version = head.get(MAGIC.len()..).and_then(|bytes| bytes.try_into().ok());
        let version = version.map(u32::from_le_bytes);
        match version {
            None => return Err(RecordingError::TruncatedHead { at: head.len() as u64 }),
            Some(0) => return Err(RecordingError::Foreign),
            Some(version) if version > VERSION => return Err(RecordingError::Newer(version)),
            Some(_) => {}
        }
        let mut place = Place { at: length as u64, frame: 1 };
        match place.frame(&mut source)? {
            Some(Frame::Fact(Fact::Recorder(recorder))) if recorder.records == RECORD_VERSION => {
                Ok(Self { source, recorder, place, is_over: false })
            }
            Some(Frame::Fact(Fact::Recorder(Recorder { agent, records, .. }))) => {
                Err(RecordingError::Records { found: records, agent })
            }
            Some(_) => Err(Place { at: length as u64, frame: 1 }.damaged("it does not say who recorded")),
            None => Err(RecordingError::TruncatedHead { at: length as u64 }),
        }
    }

    /// Who recorded.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn read(&mut self) -> Result<Option<Frame>, RecordingError> {
        let place = self.place;
        if let Some(frame) = self.place.frame(&mut self.source)? {
            if matches!(frame, Frame::Fact(Fact::Recorder(_))) {
                return Err(place.damaged("who recorded is said twice"));
            }
            if matches!(frame, Frame::Fact(Fact::End { .. })) {
                self.is_over = true;
                if self.source.read(&mut [0]).map_err(RecordingError::Read)? != 0 {
                    return Err(place.damaged("it is said to be the last one, and is not"));
                }
            }
            return Ok(Some(frame));
        }
        Err(RecordingError::Unfinished { frame: place.frame - 1 })
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Frame, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let result = self.read();
        self.is_over |= result.is_err();
        result.transpose()
    }
}

impl Place {
    /// The next frame; `None` at the end of the file.
    fn frame(&mut self, source: &mut impl Read) -> Result<Option<Frame>, RecordingError> {
        let truncated = RecordingError::Truncated { frame: self.frame, at: self.at };
        let mut head = [0; 5];
        match read_up_to(source, &mut head).map_err(RecordingError::Read)? {
            0 => return Ok(None),
            5 => {}
            _ => return Err(truncated),
        }
        let [a, b, c, d, kind] = head;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length > MAX_FRAME {
            return Err(self.damaged(&format!("{length} bytes are more than {MAX_FRAME}")));
        }
        let mut content = Vec::new();
        source.take(length.into()).read_to_end(&mut content).map_err(RecordingError::Read)?;
        if content.len() as u64 != u64::from(length) {
            return Err(truncated);
        }
        let frame = match kind {
            FACT => Frame::Fact(serde_json::from_slice(&content).map_err(|error| self.damaged(&error))?),
            RECORD => Frame::Record(content),
            kind => return Err(self.damaged(&format!("its kind {kind} is unknown"))),
        };
        self.at = self.at.saturating_add(head.len() as u64).saturating_add(length.into());
        self.frame = self.frame.saturating_add(1);
        Ok(Some(frame))
    }

    fn damaged(self, what: &(impl ToString + ?Sized)) -> RecordingError {
        RecordingError::Damaged { frame: self.frame, at: self.at, what: what.to_string() }
    }
}

/// As many bytes as there are.
fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = Vec::with_capacity(buffer.len());
    source.take(buffer.len() as u64).read_to_end(&mut read)?;
    for (to, from) in buffer.iter_mut().zip(&read) {
        *to = *from;
    }
    Ok(read.len())
}
