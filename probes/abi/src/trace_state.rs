//! W3C Trace Context Level 2 (section 3.3.1): the header `tracestate`, as it may be passed on.
//!
//! Each byte takes one step in a table, without branches on the text, for a BPF verifier follows them all.
#![expect(clippy::indexing_slicing, reason = "tables have a place for each index that there is")]

use crate::limits::TRACESTATE;

/// The bytes of a buffer: the longest text, and zeros behind it.
pub const BUFFER: usize = TRACESTATE + 8;

/// Members of a list that is passed on; the standard has no more.
const MEMBERS: u64 = 32;
/// Bytes of a key, and of a value.
const PART: u64 = 256;

// Where one is, which is the upper half of an index of `STEPS`.
/// Before a member, or behind the last one.
const BETWEEN: u8 = 0;
const KEY: u8 = 0x10;
/// Behind the equals sign, and spaces behind it, which must not be all there is.
const EQUALS: u8 = 0x20;
const VALUE: u8 = 0x30;
/// In a value or behind it.
const SPACES: u8 = 0x40;
/// Behind a value and a tab, which none has.
const BEHIND: u8 = 0x50;
/// Behind the text.
const END: u8 = 0x60;
const WRONG: u8 = 0x70;
// What a step says beside that.
/// The byte is of the text.
const TEXT: u8 = 1;
/// The sign between key and value was passed.
const MEMBER: u8 = 1 << 2;
/// The byte is the last so far of a key or of a value.
const PART_OF: u8 = 1 << 3;

// What a byte is, which is the lower half of an index of `STEPS`.
/// The end.
const ZERO: u8 = 0;
/// What a key may begin with.
const FIRST: u8 = 1;
/// What else it may have.
const FURTHER: u8 = 2;
const SIGN: u8 = 3;
const COMMA: u8 = 4;
const SPACE: u8 = 5;
const TAB: u8 = 6;
/// What only a value may have.
const OF_VALUE: u8 = 7;
const OTHER: u8 = 8;

static KINDS: [u8; 256] = kinds();
/// Where a byte of a kind leads to.
static STEPS: [u8; 128] = steps();
/// 0 if what comes is another key or value, else 1. A table of its own, for of one bit LLVM makes a branch.
static GOES_ON: [u8; 128] = goes_on();

const fn kinds() -> [u8; 256] {
    let mut kinds = [OTHER; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        kinds[byte as usize] = match byte {
            b'a'..=b'z' | b'0'..=b'9' => FIRST,
            b'_' | b'-' | b'*' | b'/' | b'@' => FURTHER,
            b'=' => SIGN,
            b',' => COMMA,
            b' ' => SPACE,
            _ => OF_VALUE,
        };
        byte += 1;
    }
    kinds[b'\t' as usize] = TAB;
    kinds[0] = ZERO;
    kinds
}

const fn steps() -> [u8; 128] {
    let mut steps = [WRONG; 128];
    let mut index = 0;
    while index < 128 {
        let step = match (index & 0xf0, index & 0xf) {
            (BETWEEN | KEY, FIRST) | (KEY, FURTHER) => KEY | PART_OF,
            (KEY, SIGN) => EQUALS | MEMBER,
            (EQUALS, SPACE) => EQUALS,
            (EQUALS | VALUE | SPACES, FIRST | FURTHER | OF_VALUE) => VALUE | PART_OF,
            (VALUE | SPACES, SPACE) => SPACES,
            (VALUE | SPACES | BEHIND, TAB) | (BEHIND, SPACE) => BEHIND,
            (BETWEEN, SPACE | TAB) | (BETWEEN | VALUE | SPACES | BEHIND, COMMA) => BETWEEN,
            (BETWEEN | VALUE | SPACES | BEHIND | END, ZERO) => END,
            _ => WRONG,
        };
        steps[index as usize] = if step == END { END } else { step | TEXT };
        index += 1;
    }
    steps
}

const fn goes_on() -> [u8; 128] {
    let mut goes_on = [1; 128];
    let mut index = 0;
    while index < 128 {
        let step = steps()[index];
        goes_on[index] = (step & 0xf0 != BETWEEN && step & MEMBER == 0) as u8;
        index += 1;
    }
    goes_on
}

/// A walk through a text, byte by byte.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    step: u8,
    is_too_long: u64,
    part: u64,
    members: u64,
    length: u64,
}

impl Walk {
    /// Before the text.
    pub const START: Self = Self { step: BETWEEN, is_too_long: 0, part: 0, members: 0, length: 0 };

    /// Takes the next byte of the buffer. `index_of` gives the seven bits back that it is given: verifiers before Linux 6.10 know
    /// nothing of what two values come to that they do not know (`adjust_scalar_min_max_vals`), so that a program has to mask it.
    #[inline]
    pub fn take(&mut self, byte: u8, index_of: impl Fn(u8) -> usize) {
        let kind = KINDS[usize::from(byte)];
        let index = index_of(self.step & 0x70 | kind & 0xf) & 0x7f;
        let step = STEPS[index];
        self.part += 1;
        self.is_too_long |= PART.wrapping_sub(self.part) >> 63 & u64::from((step / PART_OF) & 1);
        self.part *= u64::from(GOES_ON[index]);
        self.members += u64::from((step / MEMBER) & 1);
        self.length += u64::from(step & TEXT);
        self.step = step;
    }

    /// The bytes of the text, behind which a zero was taken, if it may be passed on, a well-formed list that is not empty; else 0.
    #[inline]
    pub const fn valid_length(&self) -> u64 {
        let is_valid =
            self.step == END && self.is_too_long == 0 && self.members != 0 && self.members <= MEMBERS;
        if is_valid { self.length } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn valid_length(text: &str) -> u64 {
        let mut buffer = [0; BUFFER];
        buffer[..text.len()].copy_from_slice(text.as_bytes());
        let mut walk = Walk::START;
        for byte in buffer {
            walk.take(byte, usize::from);
        }
        walk.valid_length()
    }

    /// After the tests of tracestate in the standard's own suite (`test_tracestate_…`), and some more.
    #[test]
    fn a_list_is_passed_on_if_the_standard_says_that_it_is_one() {
        let (long, too_long) = ("z".repeat(256), "z".repeat(257));
        let many = |number: usize| {
            (0..number).map(|number| std::format!("bar{number:02}=1")).collect::<Vec<_>>().join(",")
        };
        let full = std::format!("a={}, b={}", "x".repeat(250), "y".repeat(256));
        assert_eq!(full.len(), TRACESTATE);
        let valid = [
            "foo=1",
            "foo=1,bar=2",
            "foo=1,foo=1",
            "foo=1,foo=2",
            // Spaces and tabs around members, and members that are empty.
            "foo=1 \t , \t bar=2, \t baz=3",
            "foo=1\t \t,\t \tbar=2,\t \tbaz=3",
            " foo=1",
            "\tfoo=1",
            "foo=1 ",
            "foo=1\t",
            "\t foo=1 \t",
            "foo=1,",
            ",foo=1",
            "foo=1,,bar=2",
            "foo=1, ,bar=2",
            // What keys and values may have.
            "0=1",
            "0foo=1",
            "abcdefghijklmnopqrstuvwxyz0123456789_-*/=1",
            "foo@bar=1",
            "a= !\"#$%&'()*+-./0123456789:;<>?@ABCXYZ[\\]^_`abcxyz{|}~",
            "a=x y",
            "a= x",
            &std::format!("{long}=1"),
            &std::format!("a={long}"),
            &std::format!("a={long}  ,b=1"),
            &std::format!("a=1,{}b=1", " ".repeat(300)),
            &many(32),
            &full,
        ];
        for text in valid {
            assert_eq!(valid_length(text), text.len() as u64, "{text:?}");
        }
        let wrong = [
            "",
            " ",
            ",",
            " ,\t, ",
            // Keys.
            "foo =1",
            "FOO=1",
            "foo.bar=1",
            "foo;=1",
            "_foo=1",
            "@foo=1",
            "-=1",
            "=1",
            "foo",
            "foo=1,bar",
            "foo,bar=1",
            "\u{fc}=1",
            // Values.
            "foo=bar=baz",
            "foo=",
            "foo=,bar=3",
            "foo= ,bar=3",
            "foo=\t1",
            "foo=1\t2",
            "foo=1 \t 2",
            "foo=\u{fc}",
            "foo=\x7f",
            // What would end the header.
            "foo=1\r\nx: y",
            "foo=1\n",
            "foo=1\r",
            "foo=1\0bar",
            "\0foo=1",
            &std::format!("{too_long}=1"),
            &std::format!("a={too_long}"),
            &std::format!("a=1,{too_long}=1"),
            &many(33),
        ];
        for text in wrong {
            assert_eq!(valid_length(text), 0, "{text:?}");
        }
    }

    extern crate std;
}
