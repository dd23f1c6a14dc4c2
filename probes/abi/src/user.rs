//! What only the agent needs: copying types in and out of maps, and reading records.

use core::mem::offset_of;
use core::ops::Range;
use core::slice;

use crate::limits::STRINGS;
use crate::record::{Http, RecordHeader, RecordKind, Text, VERSION};
use crate::{
    ContextKey, ContextSet, Counters, Grpc, GrpcText, Holder, HolderKey, InFlight, InFlightKey, Layout,
    PidNamespace, Process, Settings, Site,
};

macro_rules! plain {
    ($($name:ty)+) => {
        $(
            // SAFETY: a `repr(C)` struct of integers without padding (its size is asserted to be the sum of its fields').
            unsafe impl aya::Pod for $name {}
        )+
    };
}

plain!(ContextKey ContextSet Counters Holder HolderKey InFlight InFlightKey Layout PidNamespace Process Settings Site);

/// A record with its strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A served HTTP request.
    HttpServer(Http, Texts<'a>),
    /// A request sent by an HTTP client.
    HttpClient(Http, Texts<'a>),
    /// A served gRPC call.
    GrpcServer(Grpc, GrpcTexts<'a>),
    /// A gRPC call made by a client.
    GrpcClient(Grpc, GrpcTexts<'a>),
}

/// The strings of a record, by [`Text`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Texts<'a>([&'a [u8]; Text::COUNT]);

impl<'a> Texts<'a> {
    /// A string; empty if the program had none.
    pub fn get(&self, text: Text) -> &'a [u8] {
        self.0.get(text as usize).copied().unwrap_or_default()
    }
}

/// The strings of a record of gRPC, by [`GrpcText`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrpcTexts<'a>([&'a [u8]; GrpcText::COUNT]);

impl<'a> GrpcTexts<'a> {
    /// A string; empty if the program had none.
    pub fn get(&self, text: GrpcText) -> &'a [u8] {
        self.0.get(text as usize).copied().unwrap_or_default()
    }
}

/// Bytes that are no record of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// Fewer bytes than the record says it has, or than its fixed part or its strings take.
    Truncated,
    /// Written by programs of another version.
    Version(u8),
    /// Of an unknown kind.
    Kind(u8),
}

impl core::error::Error for RecordError {}

impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated => f.write_str("the record is shorter than it says"),
            Self::Version(version) => write!(f, "the record has version {version}, not {VERSION}"),
            Self::Kind(kind) => write!(f, "the record has the unknown kind {kind}"),
        }
    }
}

impl<'a> Record<'a> {
    /// Reads a record as it comes from the ring buffer or from a file, at any alignment. Bytes behind it are ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let header: RecordHeader = read(bytes).ok_or(RecordError::Truncated)?;
        if header.version != VERSION {
            return Err(RecordError::Version(header.version));
        }
        match header.kind {
            kind if kind == RecordKind::HttpServer as u8 => {
                http(bytes).map(|(record, texts)| Self::HttpServer(record, texts))
            }
            kind if kind == RecordKind::HttpClient as u8 => {
                http(bytes).map(|(record, texts)| Self::HttpClient(record, texts))
            }
            kind if kind == RecordKind::GrpcServer as u8 => {
                grpc(bytes).map(|(record, texts)| Self::GrpcServer(record, texts))
            }
            kind if kind == RecordKind::GrpcClient as u8 => {
                grpc(bytes).map(|(record, texts)| Self::GrpcClient(record, texts))
            }
            kind => return Err(RecordError::Kind(kind)),
        }
        .ok_or(RecordError::Truncated)
    }
}

impl RecordHeader {
    /// The start of a record, if there are as many bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        read(bytes)
    }

    /// Makes a record that of a piece ([`crate::segment`]): its id, its start and its number. False if there are not as many bytes.
    #[must_use]
    pub fn set_segment(bytes: &mut [u8], span_id: u64, start: u64, segment: u32) -> bool {
        put(bytes, offset_of!(Self, span_id), &span_id.to_ne_bytes())
            && put(bytes, offset_of!(Self, start), &start.to_ne_bytes())
            && put(bytes, offset_of!(Self, segment), &segment.to_ne_bytes())
    }
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) -> bool {
    let place = bytes.get_mut(offset..offset + value.len());
    place.is_some_and(|place| {
        place.copy_from_slice(value);
        true
    })
}

impl InFlight {
    /// The record of an open span as it would be if it ended now. It was read while the programs write it, so it need not make sense:
    /// whoever takes it parses it.
    pub fn record_until(&mut self, end: u64) -> Option<&[u8]> {
        let strings = usize::try_from(self.strings_length).ok().filter(|strings| *strings <= STRINGS)?;
        let length = size_of::<Http>() + strings;
        self.record.header.length = u32::try_from(length).ok()?;
        self.record.header.end = end;
        let start = (&raw const *self).cast::<u8>();
        // SAFETY: the strings lie right behind the record (`in_flight` asserts it), so the bytes are all within `self`, and none is
        // padding.
        Some(unsafe { slice::from_raw_parts(start.add(offset_of!(Self, record)), length) })
    }
}

fn http(bytes: &[u8]) -> Option<(Http, Texts<'_>)> {
    let record: Http = read(bytes)?;
    Some((record, Texts(strings::<Http, _>(bytes, record.header.length, record.lengths)?)))
}

fn grpc(bytes: &[u8]) -> Option<(Grpc, GrpcTexts<'_>)> {
    let record: Grpc = read(bytes)?;
    Some((record, GrpcTexts(strings::<Grpc, _>(bytes, record.header.length, record.lengths)?)))
}

/// The strings behind a record's fixed part.
fn strings<Fixed, const COUNT: usize>(
    bytes: &[u8],
    length: u32,
    lengths: [u16; COUNT],
) -> Option<[&[u8]; COUNT]> {
    let strings = bytes.get(size_of::<Fixed>()..usize::try_from(length).ok()?)?;
    let mut texts = [&[][..]; COUNT];
    let mut start = 0_usize;
    for (text, length) in texts.iter_mut().zip(lengths) {
        let end = start + usize::from(length);
        *text = strings.get(Range { start, end })?;
        start = end;
    }
    Some(texts)
}

/// A type that any bytes are a valid value of.
trait AnyBytes: Copy {}
impl AnyBytes for RecordHeader {}
impl AnyBytes for Http {}
impl AnyBytes for Grpc {}

fn read<T: AnyBytes>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: there are as many bytes as the type has, and it is valid for all of them.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::{Record, RecordError};
    use crate::record::{Http, RecordHeader, RecordKind, Text, VERSION};

    fn bytes() -> std::vec::Vec<u8> {
        let header = RecordHeader {
            length: 128 + 7,
            kind: RecordKind::HttpServer as u8,
            version: VERSION,
            goid: 9,
            ..RecordHeader::default()
        };
        let record = Http { header, status: 404, lengths: [4, 0, 0, 1, 2, 0, 0, 0], ..Http::default() };
        // SAFETY: the struct has no padding.
        let fixed: [u8; 128] = unsafe { core::mem::transmute(record) };
        [&fixed[..], b"hostrGEbehind"].concat()
    }

    #[test]
    fn strings_are_told_apart() {
        let bytes = bytes();
        let Record::HttpServer(record, texts) = Record::parse(&bytes).unwrap() else { panic!() };
        assert_eq!((record.status, record.header.goid), (404, 9));
        let read = Text::ALL.map(|text| texts.get(text));
        assert_eq!(read, [&b"host"[..], b"", b"", b"r", b"GE", b"", b"", b""]);
    }

    #[test]
    fn damaged_records_are_errors() {
        let good = bytes();
        for length in 0..128 + 7 {
            assert_eq!(Record::parse(&good[..length]), Err(RecordError::Truncated));
        }
        for place in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = good.clone();
                damaged[place] = value;
                // Any answer will do, as long as it is one.
                let _ = Record::parse(&damaged);
            }
        }
        let mut other = good.clone();
        other[4] = 77;
        assert_eq!(Record::parse(&other), Err(RecordError::Kind(77)));
        other[5] = VERSION + 1;
        assert_eq!(Record::parse(&other), Err(RecordError::Version(VERSION + 1)));
    }

    extern crate std;
}
