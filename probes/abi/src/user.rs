//! What only the agent needs: copying types in and out of maps, and reading records.

use core::mem::offset_of;
use core::slice;

use crate::limits::STRINGS;
use crate::record::{Connection, Http, RecordHeader, RecordKind, Text, VERSION, header_flags, http_flags};
use crate::{
    ContextKey, ContextSet, Counters, Grpc, GrpcText, Holder, HolderKey, InFlight, InFlightKey, Layout,
    PidNamespace, Process, Settings, Site, WantedHeaders,
};

macro_rules! plain {
    ($($name:ty)+) => {
        $(
            // SAFETY: a `repr(C)` struct of integers without padding (its size is asserted to be the sum of its fields').
            unsafe impl aya::Pod for $name {}
        )+
    };
}

plain!(ContextKey ContextSet Counters Holder HolderKey InFlight InFlightKey Layout PidNamespace Process Settings Site WantedHeaders);

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
pub struct Texts<'a> {
    texts: [&'a [u8]; Text::COUNT],
    /// As [`header_flags`] describes it, without the number of bytes.
    headers: &'a [u8],
}

impl<'a> Texts<'a> {
    /// A string; empty if the program had none.
    pub fn get(&self, text: Text) -> &'a [u8] {
        self.texts.get(text as usize).copied().unwrap_or_default()
    }

    /// The values of wanted headers, those of one behind each other.
    pub fn headers(&self) -> impl Iterator<Item = HeaderValue<'a>> + use<'a> {
        let mut rest = self.headers;
        core::iter::from_fn(move || {
            let (&[low, high, flags, name], behind) = rest.split_first_chunk()?;
            let (name, behind) = behind.split_at_checked(name.into())?;
            let (value, behind) = behind.split_at_checked(u16::from_le_bytes([low, high]).into())?;
            rest = behind;
            let has = |flag| flags & flag != 0;
            Some(HeaderValue {
                name,
                value,
                is_shown: has(header_flags::SHOWN),
                is_cut: has(header_flags::CUT),
            })
        })
    }
}

/// A value of a wanted header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderValue<'a> {
    /// The name as Go spells it; empty for a further value of the header before.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Whether it is to be shown.
    pub is_shown: bool,
    /// Whether it was longer, or further ones are left out.
    pub is_cut: bool,
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

impl Connection {
    /// That of a client's record, if there is one.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        read(bytes)
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
    let has_headers =
        record.header.kind == RecordKind::HttpServer as u8 && record.flags & http_flags::HEADERS != 0;
    let headers_before = has_headers.then_some(Text::RequestLine as usize);
    let (texts, headers) = strings::<Http, _>(bytes, record.header.length, record.lengths, headers_before)?;
    Some((record, Texts { texts, headers }))
}

fn grpc(bytes: &[u8]) -> Option<(Grpc, GrpcTexts<'_>)> {
    let record: Grpc = read(bytes)?;
    Some((record, GrpcTexts(strings::<Grpc, _>(bytes, record.header.length, record.lengths, None)?.0)))
}

/// The strings behind a record's fixed part, and the values of headers, if they stand before one of these.
fn strings<Fixed, const COUNT: usize>(
    bytes: &[u8],
    length: u32,
    lengths: [u16; COUNT],
    headers_before: Option<usize>,
) -> Option<([&[u8]; COUNT], &[u8])> {
    let mut rest = bytes.get(size_of::<Fixed>()..usize::try_from(length).ok()?)?;
    let (mut texts, mut headers) = ([&[][..]; COUNT], &[][..]);
    for (index, (text, length)) in texts.iter_mut().zip(lengths).enumerate() {
        if headers_before == Some(index) {
            let length = u16::from_le_bytes(*rest.first_chunk()?);
            (headers, rest) = rest.split_at_checked(length.into())?;
            headers = headers.get(2..)?;
        }
        (*text, rest) = rest.split_at_checked(length.into())?;
    }
    Some((texts, headers))
}

/// A type that any bytes are a valid value of.
trait AnyBytes: Copy {}
impl AnyBytes for RecordHeader {}
impl AnyBytes for Http {}
impl AnyBytes for Grpc {}
impl AnyBytes for Connection {}

fn read<T: AnyBytes>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: there are as many bytes as the type has, and it is valid for all of them.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::{HeaderValue, Record, RecordError};
    use crate::record::{Http, RecordHeader, RecordKind, Text, VERSION, http_flags};

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

    /// With the values of two headers, one of which has two.
    fn with_headers() -> std::vec::Vec<u8> {
        let mut bytes = bytes();
        let block = b"\x14\0\x02\0\x01\x01Avw\x01\0\x03\0x\0\0\0\x02Bb";
        bytes.splice(128 + 5..128 + 5, *block);
        let length = (128 + 7 + u32::try_from(block.len()).unwrap()).to_ne_bytes();
        bytes[..4].copy_from_slice(&length);
        let flags = core::mem::offset_of!(Http, flags);
        bytes[flags..flags + 2].copy_from_slice(&http_flags::HEADERS.to_ne_bytes());
        bytes
    }

    #[test]
    fn values_of_headers_stand_between_strings() {
        let bytes = with_headers();
        let Record::HttpServer(_, texts) = Record::parse(&bytes).unwrap() else { panic!() };
        assert_eq!(Text::ALL.map(|text| texts.get(text)).concat(), b"hostrGE");
        let value = |name, value, is_shown, is_cut| HeaderValue { name, value, is_shown, is_cut };
        let expected = [
            value(&b"A"[..], &b"vw"[..], true, false),
            value(b"", b"x", true, true),
            value(b"Bb", b"", false, false),
        ];
        assert_eq!(texts.headers().collect::<std::vec::Vec<_>>(), expected);
        // A client's flags mean other things.
        let mut client = bytes.clone();
        client[4] = RecordKind::HttpClient as u8;
        let Record::HttpClient(_, texts) = Record::parse(&client).unwrap() else { panic!() };
        assert_eq!(texts.headers().count(), 0);
    }

    #[test]
    fn damaged_records_are_errors() {
        for good in [bytes(), with_headers()] {
            let length = good.len() - b"behind".len();
            for length in 0..length {
                assert_eq!(Record::parse(&good[..length]), Err(RecordError::Truncated));
            }
            for place in 0..good.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut damaged = good.clone();
                    damaged[place] = value;
                    // Any answer will do, as long as it is one.
                    if let Ok(Record::HttpServer(_, texts)) = Record::parse(&damaged) {
                        assert!(texts.headers().count() <= good.len());
                    }
                }
            }
        }
        let good = bytes();
        let mut other = good.clone();
        other[4] = 77;
        assert_eq!(Record::parse(&other), Err(RecordError::Kind(77)));
        other[5] = VERSION + 1;
        assert_eq!(Record::parse(&other), Err(RecordError::Version(VERSION + 1)));
    }

    extern crate std;
}
