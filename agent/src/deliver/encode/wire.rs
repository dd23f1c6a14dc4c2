//! The wire format of protobuf (protobuf.dev/programming-guides/encoding). A field with its default value is left out,
//! save where said otherwise.

use bytes::BufMut as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// A message, written by `write`.
pub(super) fn message(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(tag, WireType::LengthDelimited, out);
    let start = out.len();
    // The place of the length; most messages are short enough for one byte of it.
    out.push(0);
    write(out);
    let length = (out.len() - start - 1) as u64;
    let mut encoded = [0; 10];
    encode_varint(length, &mut encoded.as_mut_slice());
    let encoded = encoded.into_iter().take(encoded_len_varint(length));
    out.splice(start..=start, encoded);
}

/// Bytes, also if there are none.
pub(super) fn bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(super) fn text(out: &mut Vec<u8>, tag: u32, text: &str) {
    if !text.is_empty() {
        bytes(out, tag, text.as_bytes());
    }
}

pub(super) fn varint(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        number(out, tag, value);
    }
}

/// A number, also if it is 0.
pub(super) fn number(out: &mut Vec<u8>, tag: u32, value: u64) {
    encode_key(tag, WireType::Varint, out);
    encode_varint(value, out);
}

/// A boolean, also if it is false.
pub(super) fn boolean(out: &mut Vec<u8>, tag: u32, value: bool) {
    number(out, tag, value.into());
}

pub(super) fn fixed64(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        encode_key(tag, WireType::SixtyFourBit, out);
        out.put_u64_le(value);
    }
}

pub(super) fn fixed32(out: &mut Vec<u8>, tag: u32, value: u32) {
    if value != 0 {
        encode_key(tag, WireType::ThirtyTwoBit, out);
        out.put_u32_le(value);
    }
}
