//! W3C Trace Context (Recommendation of 23 November 2021, section 3.2): the header `traceparent`.

/// The most bytes of a `traceparent` that decide anything: 55, and whether a dash follows them.
pub const BYTES: usize = 56;
/// Where the text must be put in the buffer for [`parse`], so that the trace id is aligned.
pub const OFFSET: usize = 5;

/// The position in the trace of a remote parent. Ids are bytes in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace id; not all zero.
    pub trace_id: [u64; 2],
    /// The id of the parent span; not zero.
    pub span_id: u64,
    /// The trace flags; bit 0 is sampled.
    pub flags: u8,
}

/// Parses a `traceparent` of `length` bytes whose first [`BYTES`] stand at [`OFFSET`] in `text`, or `None` where the
/// standard says to ignore it. For little-endian machines.
///
/// Without loops, and with few branches on the text: a BPF verifier follows them all.
#[inline]
pub fn parse(text: &[u64; 8], length: u64) -> Option<TraceParent> {
    // Text bytes 0 to 2 are bytes 5 to 7 of the buffer, the trace id is bytes 8 to 39, a dash byte 40,
    // the parent id 41 to 56, a dash 57, the flags 58 and 59, and byte 60 what follows in a future version.
    let [w0, w1, w2, w3, w4, w5, w6, w7] = text;
    let version = digits(ZEROS << 16 | (w0 >> 40 & 0xffff))?;
    let future = length > 55 && version != 0 && w7 >> 32 & 0xff == DASH;
    let dashes = (w0 >> 56 ^ DASH) | (w5 & 0xff ^ DASH) | (w7 >> 8 & 0xff ^ DASH);
    if version == 0xff || dashes != 0 || !(length == 55 || future) {
        return None;
    }
    let trace_id = [digits(*w1)? | digits(*w2)? << 32, digits(*w3)? | digits(*w4)? << 32];
    let span_id = digits(w5 >> 8 | w6 << 56)? | digits(w6 >> 8 | w7 << 56)? << 32;
    let flags = digits(ZEROS << 16 | (w7 >> 16 & 0xffff))?;
    if trace_id == [0, 0] || span_id == 0 {
        return None;
    }
    Some(TraceParent { trace_id, span_id, flags: (flags & 0xff) as u8 })
}

const DASH: u64 = b'-' as u64;
const ONES: u64 = 0x0101_0101_0101_0101;
const ZEROS: u64 = ONES * b'0' as u64;

/// 8 hexadecimal digits, the first in the lowest byte, as 4 bytes in the same order.
#[inline]
fn digits(text: u64) -> Option<u64> {
    let value = hex(text);
    (value >> 32 == 0).then_some(value)
}

/// The same, but more than 32 bits if not all are digits or lower-case letters to f.
#[cfg_attr(target_arch = "bpf", inline(never))] // for the sake of the caller's frame
fn hex(text: u64) -> u64 {
    let letters = text >> 6 & ONES;
    let nibbles = text & (ONES * 0x0f);
    let values = nibbles + letters * 9;
    // The upper half of a digit's byte is 3, of a letter's 6.
    let wrong_class = (text & (ONES * 0xf0)) ^ (ONES * 0x30 + letters * 0x30);
    let above_f = values & (ONES * 0x10);
    let above_nine = (nibbles + ONES * 6) & !(letters << 4) & (ONES * 0x10);
    let before_a = !(nibbles + ONES * 0x0f) & (letters << 4);
    let bytes = (values << 4 | values >> 8) & 0x00ff_00ff_00ff_00ff;
    let words = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    let invalid = (wrong_class | above_f | above_nine | before_a) != 0;
    ((words | words >> 16) & 0xffff_ffff) | u64::from(invalid) << 32
}

#[cfg(test)]
mod tests {
    use super::{BYTES, OFFSET, TraceParent, parse};

    fn parse_text(text: &str) -> Option<TraceParent> {
        let mut buffer = [0xa5; 64];
        let kept = text.len().min(BYTES);
        buffer[OFFSET..OFFSET + kept].copy_from_slice(&text.as_bytes()[..kept]);
        let (words, _) = buffer.as_chunks::<8>();
        let words: [u64; 8] = core::array::from_fn(|index| u64::from_ne_bytes(words[index]));
        parse(&words, text.len() as u64)
    }

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_header_gives_ids_and_flags() {
        let parent = parse_text(GOOD).unwrap();
        let trace_id: [[u8; 8]; 2] = parent.trace_id.map(u64::to_ne_bytes);
        assert_eq!(trace_id.as_flattened(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
        assert_eq!(parent.span_id.to_ne_bytes(), 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
        assert_eq!(parent.flags, 1);
        assert_eq!(parse_text(&GOOD.replace("-01", "-ff")).unwrap().flags, 0xff);
    }

    #[test]
    fn versions_are_told_apart() {
        for (version, rest, valid) in [
            ("00", "", true),
            ("00", "-", false),
            ("00", "-what", false),
            ("01", "", true),
            ("cc", "-what-the-future-brings", true),
            ("cc", "-", true),
            ("cc", ".what", false),
            ("cc", "0", false),
            ("ff", "", false),
            ("ff", "-what", false),
            ("fe", "", true),
        ] {
            let text = std::format!("{version}{}{rest}", &GOOD[2..]);
            assert_eq!(parse_text(&text).is_some(), valid, "{text}");
        }
    }

    #[test]
    fn zero_ids_and_short_headers_are_ignored() {
        assert_eq!(parse_text(&GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32))), None);
        assert_eq!(parse_text(&GOOD.replace("b7ad6b7169203331", &"0".repeat(16))), None);
        for length in 0..GOOD.len() {
            assert_eq!(parse_text(&GOOD[..length]), None);
        }
    }

    /// Each place with each byte: exactly the digits and lower-case letters, or the dash, are taken.
    #[test]
    fn every_byte_is_checked() {
        for place in 0..GOOD.len() {
            for byte in 0..=u8::MAX {
                let mut buffer = [0; 64];
                buffer[OFFSET..OFFSET + 55].copy_from_slice(GOOD.as_bytes());
                buffer[OFFSET + place] = byte;
                let (words, _) = buffer.as_chunks::<8>();
                let words: [u64; 8] = core::array::from_fn(|index| u64::from_ne_bytes(words[index]));
                let valid = match place {
                    2 | 35 | 52 => byte == b'-',
                    _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                };
                assert_eq!(parse(&words, 55).is_some(), valid, "{byte:#x} at {place}");
            }
        }
    }

    extern crate std;
}
