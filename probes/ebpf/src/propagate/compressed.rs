//! The field of HTTP/2 in HPACK's Huffman code: some twenty bytes less, for where it has no room otherwise.
//!
//! It is made of the text in the span's element, in registers, and written word by word. Each word is read back and compared with what
//! the register has, which nobody else changes; whose the text was is looked at when all of it stands there.

use lightfoot_probes_abi::{
    Counter, Pending,
    huffman::{self, Field},
    propagation::HEADER_WORDS,
};

use super::publish;

/// Where the text goes on behind `traceparent: 00-`, in words. Of the last word four bytes are of the value.
const TEXT: usize = 2;
const LAST: u64 = 0xffff_ffff;

/// Writes the field to where nobody looks. There must be room for [`huffman::LONGEST`]. Returns how many bytes it is, or 0 unless it stands
/// there. It is to be asked then whether the element has been that of the span all along.
#[inline(never)]
pub fn write(slot: u32, pending: &Pending, to: u64) -> u64 {
    let mut field = Field::START;
    let mut word = TEXT;
    while word < HEADER_WORDS {
        // SAFETY: a word of the element. Volatile, for another span may just use the element anew.
        let text = unsafe { (&raw const pending.text[word]).read_volatile() };
        field.take(coded(if word == HEADER_WORDS - 1 { text & LAST } else { text }));
        if !put(slot, to.wrapping_add(field.length() - 8), field.bytes()) {
            return 0;
        }
        word += 1;
    }
    let [first, second] = field.head();
    if put(slot, to, first) && put(slot, to.wrapping_add(huffman::SECOND), second) {
        field.length()
    } else {
        0
    }
}

/// False unless the word stands there.
#[inline(always)]
fn put(slot: u32, to: u64, word: u64) -> bool {
    publish(slot, to, word) == Counter::Propagated
}

/// [`huffman::coded`] as a global function, which the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn coded(text: u64) -> u64 {
    huffman::coded(text)
}
