//! The field `traceparent` in HPACK's Huffman code (RFC 7541, section 5.2), for where its plain form has no room.
//!
//! Its bytes are made eight at a time, without branches on the text, for a BPF verifier follows them all: those that are made last overlap
//! those before, so that each time there are as many.
#![expect(clippy::indexing_slicing, reason = "tables have a place for each index that there is")]

/// What the field consists of: a byte, its code, and how many bits that has (RFC 7541, appendix B).
pub const CODES: [(u8, u16, u16); 21] = [
    (b'0', 0x0, 5),
    (b'1', 0x1, 5),
    (b'2', 0x2, 5),
    (b'a', 0x3, 5),
    (b'c', 0x4, 5),
    (b'e', 0x5, 5),
    (b't', 0x9, 5),
    (b'-', 0x16, 6),
    (b'3', 0x19, 6),
    (b'4', 0x1a, 6),
    (b'5', 0x1b, 6),
    (b'6', 0x1c, 6),
    (b'7', 0x1d, 6),
    (b'8', 0x1e, 6),
    (b'9', 0x1f, 6),
    (b'b', 0x23, 6),
    (b'd', 0x24, 6),
    (b'f', 0x25, 6),
    (b'n', 0x2a, 6),
    (b'p', 0x2b, 6),
    (b'r', 0x2c, 6),
];

/// The longest field, in bytes: no byte of a value takes more than six bits, and some always take five.
pub const LONGEST: usize = BEFORE + VALUE / 8 + 39;

/// What stands before the value: the kind of the field, a literal without indexing (RFC 7541, section 6.2.2), the length of the name, the
/// name, the length of the value.
const BEFORE: usize = 1 + 1 + 8 + 1;
/// The bits of what each value begins with, `00-`: they happen to be whole bytes.
const VALUE: usize = 16;
/// Both in bits.
const START: u64 = (BEFORE * 8 + VALUE) as u64;

const NAME: u64 = name();
/// That the name, or the value, is in this code: beside its length.
const IS_CODED: u64 = 0x80;
/// The codes of `00-`.
const VERSION: u64 = 0x0016;
/// The first eight bytes.
const FIRST: u64 = (IS_CODED | 8) << 48 | NAME >> 16;
/// Where the eight bytes stand of which the last are `00-`.
pub const SECOND: u64 = START / 8 - 8;

/// The code of each byte of a value, and above it how many bits that has, by the lowest five bits of the byte, which tell them
/// apart. Nothing stands where zeros look.
static BY_BITS: [u16; 32] = by_bits();

/// A code's bits above it.
const fn packed(byte: u8) -> u16 {
    let mut index = 0;
    while CODES[index].0 != byte {
        index += 1;
    }
    let (_, code, bits) = CODES[index];
    bits << 8 | code
}

const fn by_bits() -> [u16; 32] {
    let mut table = [0; 32];
    let mut index = 0;
    while index < 17 {
        let byte = b"0123456789abcdef-"[index];
        assert!(table[byte as usize & 0x1f] == 0 && byte & 0x1f != 0);
        table[byte as usize & 0x1f] = packed(byte);
        index += 1;
    }
    table
}

const fn name() -> u64 {
    let (mut name, mut bits, mut index) = (0, 0, 0);
    while index < 11 {
        let packed = packed(b"traceparent"[index]) as u64;
        name = name << (packed >> 8) | packed & 0xff;
        bits += packed >> 8;
        index += 1;
    }
    assert!(bits > 56 && bits <= 64);
    padded(name, bits)
}

/// The bits, and ones up to the end of a byte.
const fn padded(last: u64, bits: u64) -> u64 {
    let missing = bits.wrapping_neg() & 7;
    last << missing | ((1 << missing) - 1)
}

/// The codes of up to eight bytes of a value, of which the first is lowest, and zeros; above bit 48 how many bits they have.
#[inline]
pub fn coded(mut text: u64) -> u64 {
    let (mut code, mut bits, mut byte) = (0, 0, 0);
    while byte < 8 {
        let packed = u64::from(BY_BITS[(text & 0x1f) as usize]);
        // A code has six bits at most; what does not fit into as many is of no text.
        code = code << (packed >> 8) | packed & 0xff;
        bits += packed >> 8;
        text >>= 8;
        byte += 1;
    }
    code | bits << 48
}

/// The field, as far as it is made.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its last bits.
    last: u64,
    bits: u64,
}

impl Field {
    /// Up to and with the `00-` of its value.
    pub const START: Self = Self { last: 0, bits: START };

    /// Goes on with what [`coded`] says. Whatever that was given, it does not get longer by more than six bits a byte.
    #[inline]
    pub const fn take(&mut self, coded: u64) {
        let bits = coded >> 48;
        self.last = self.last << bits | coded & 0xffff_ffff_ffff;
        self.bits += bits;
    }

    /// Its last eight bytes as they stand in memory, the last filled up with ones: each of the five and more that came last is right.
    #[inline]
    pub const fn bytes(&self) -> u64 {
        padded(self.last, self.bits).swap_bytes()
    }

    /// How many bytes it has, the last of which may be begun. Of a division that rounds up LLVM makes a branch.
    #[inline]
    pub const fn length(&self) -> u64 {
        (self.bits + 7) >> 3
    }

    /// What it begins with, as it stands in memory: its first eight bytes, and those at [`SECOND`]. To be written when all else is.
    #[inline]
    pub const fn head(&self) -> [u64; 2] {
        let length = IS_CODED | (self.length() - BEFORE as u64);
        [FIRST.swap_bytes(), (NAME << 24 | length << 16 | VERSION).swap_bytes()]
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// Appendix B of RFC 7541, from the space to the tilde: codes, and how many bits they have.
    #[rustfmt::skip]
    const APPENDIX_B: [(u64, u64); 95] = [
        (0x14, 6), (0x3f8, 10), (0x3f9, 10), (0xffa, 12), (0x1ff9, 13), (0x15, 6), (0xf8, 8), (0x7fa, 11),
        (0x3fa, 10), (0x3fb, 10), (0xf9, 8), (0x7fb, 11), (0xfa, 8), (0x16, 6), (0x17, 6), (0x18, 6), (0x0, 5),
        (0x1, 5), (0x2, 5), (0x19, 6), (0x1a, 6), (0x1b, 6), (0x1c, 6), (0x1d, 6), (0x1e, 6), (0x1f, 6),
        (0x5c, 7), (0xfb, 8), (0x7ffc, 15), (0x20, 6), (0xffb, 12), (0x3fc, 10), (0x1ffa, 13), (0x21, 6),
        (0x5d, 7), (0x5e, 7), (0x5f, 7), (0x60, 7), (0x61, 7), (0x62, 7), (0x63, 7), (0x64, 7), (0x65, 7),
        (0x66, 7), (0x67, 7), (0x68, 7), (0x69, 7), (0x6a, 7), (0x6b, 7), (0x6c, 7), (0x6d, 7), (0x6e, 7),
        (0x6f, 7), (0x70, 7), (0x71, 7), (0x72, 7), (0xfc, 8), (0x73, 7), (0xfd, 8), (0x1ffb, 13),
        (0x7fff0, 19), (0x1ffc, 13), (0x3ffc, 14), (0x22, 6), (0x7ffd, 15), (0x3, 5), (0x23, 6), (0x4, 5),
        (0x24, 6), (0x5, 5), (0x25, 6), (0x26, 6), (0x27, 6), (0x6, 5), (0x74, 7), (0x75, 7), (0x28, 6),
        (0x29, 6), (0x2a, 6), (0x7, 5), (0x2b, 6), (0x76, 7), (0x2c, 6), (0x8, 5), (0x9, 5), (0x2d, 6),
        (0x77, 7), (0x78, 7), (0x79, 7), (0x7a, 7), (0x7b, 7), (0x7ffe, 15), (0x7fc, 11), (0x3ffd, 14),
        (0x1ffd, 13),
    ];

    /// A string as RFC 7541 has it in section 5.2, and what stands behind it. What is no proper end is refused.
    fn string(bytes: &[u8]) -> (String, &[u8]) {
        let (length, rest) = bytes.split_first().unwrap();
        assert!(*length > 0x80 && *length < 0xff, "{length:#x}");
        let (coded, behind) = rest.split_at(usize::from(length & 0x7f));
        let (mut text, mut code, mut bits) = (String::new(), 0, 0);
        for byte in coded {
            for bit in (0..8).rev() {
                (code, bits) = (code << 1 | u64::from(byte >> bit & 1), bits + 1);
                if let Some(found) = APPENDIX_B.iter().position(|known| *known == (code, bits)) {
                    text.push(char::from(b' ' + u8::try_from(found).unwrap()));
                    (code, bits) = (0, 0);
                }
            }
        }
        assert!(bits < 8 && code == (1 << bits) - 1, "{code:#x} of {bits} bits is no end");
        (text, behind)
    }

    /// The field as it is written, beside what stood there before.
    fn field(value: &str) -> Vec<u8> {
        let mut bytes = vec![0xa5; LONGEST + 16];
        let mut put = |place: u64, word: u64| {
            let place = usize::try_from(place).unwrap();
            bytes[place..place + 8].copy_from_slice(&word.to_le_bytes());
        };
        let mut field = Field::START;
        for part in value.strip_prefix("00-").unwrap().as_bytes().chunks(8) {
            let mut text = [0; 8];
            text[..part.len()].copy_from_slice(part);
            field.take(coded(u64::from_le_bytes(text)));
            put(field.length() - 8, field.bytes());
        }
        let [first, second] = field.head();
        put(0, first);
        put(SECOND, second);
        let behind = bytes.split_off(usize::try_from(field.length()).unwrap());
        assert!(behind.iter().all(|byte| *byte == 0xa5), "nothing is written behind it");
        bytes
    }

    #[test]
    fn the_decoder_knows_the_examples_of_the_standard() {
        // Appendix C.4 and C.6.
        let examples: [(&[u8], &str); 6] = [
            (b"\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "www.example.com"),
            (b"\x86\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", "custom-value"),
            (b"\x82\x64\x02", "302"),
            (
                b"\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (
                b"\xad\x94\xe7\x82\x1d\xd7\xf2\xe6\xc7\xb3\x35\xdf\xdf\xcd\x5b\x39\x60\xd5\xaf\x27\x08\x7f\x36\x72\xc1\xab\x27\x0f\xb5\x29\x1f\x95\x87\x31\x60\x65\xc0\x03\xed\x4e\xe5\xb1\x06\x3d\x50\x07",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ];
        for (bytes, text) in examples {
            assert_eq!(string(bytes), (text.into(), &[][..]));
        }
        for (byte, code, bits) in CODES {
            assert_eq!(
                APPENDIX_B[usize::from(byte - b' ')],
                (code.into(), bits.into()),
                "{}",
                char::from(byte)
            );
        }
    }

    #[test]
    fn each_value_is_decoded_as_it_was() {
        // An own generator (xorshift64), for the same values each time.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let same = |digit: u64| digit * 0x1111_1111_1111_1111;
        let mut values: Vec<_> = (0..16).map(|digit| [same(digit); 3]).collect();
        values.extend((0..64).map(|bit| [1 << bit, !(1 << bit), 1 << (63 - bit)]));
        values.extend((0..10_000).map(|_| [random(), random(), random()]));
        let mut lengths = Vec::new();
        for (number, [first, second, span]) in values.into_iter().enumerate() {
            let value = format!("00-{first:016x}{second:016x}-{span:016x}-0{}", number % 4);
            let bytes = field(&value);
            let (kind, rest) = bytes.split_first().unwrap();
            let (name, rest) = string(rest);
            let (decoded, behind) = string(rest);
            assert_eq!((*kind, &*name, &*decoded, behind), (0, "traceparent", &*value, &[][..]));
            lengths.push(bytes.len());
        }
        // All of five bits, and all of six.
        assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&46), Some(&LONGEST)));
    }

    /// Elements of the kernel's maps may be used anew while a program looks at them: it writes within what it has proven all the same.
    #[test]
    fn what_is_no_text_is_no_longer() {
        let mut field = Field::START;
        for byte in 0..=0xff_u8 {
            let coded = coded(u64::from_le_bytes([byte; 8]));
            assert!(coded >> 48 <= 48 && coded & 0xffff_ffff_ffff < 1 << (coded >> 48), "{byte:#x}");
        }
        for _ in 0..6 {
            field.take(48 << 48);
        }
        field.take(coded(u64::from(u32::MAX)));
        assert!(field.length() <= LONGEST as u64);
        assert_eq!(coded(0), 0);
    }
}
