use std::mem::offset_of;

use lightfoot_probes_abi::Grpc;
use lightfoot_probes_abi::record::VERSION;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn pieces() -> Pieces {
    Pieces { after: SECOND, ..Pieces::default() }
}

/// The record of a call without texts.
fn record(span_id: u64, start: u64, end: u64) -> (RecordHeader, Vec<u8>) {
    let mut bytes = vec![0; size_of::<Grpc>()];
    let length = u32::try_from(bytes.len()).unwrap();
    for (offset, value) in [
        (offset_of!(RecordHeader, length), &length.to_ne_bytes()[..]),
        (offset_of!(RecordHeader, kind), &[RecordKind::GrpcClient as u8]),
        (offset_of!(RecordHeader, version), &[VERSION]),
        (offset_of!(RecordHeader, end), &end.to_ne_bytes()),
    ] {
        bytes[offset..offset + value.len()].copy_from_slice(value);
    }
    assert!(RecordHeader::set_segment(&mut bytes, span_id, start, 0));
    (RecordHeader::of(&bytes).unwrap(), bytes)
}

/// Looks at spans, each an id and its start, and what is cut then: id, start, end and number of each piece.
fn look(pieces: &mut Pieces, spans: &[(u64, u64)], now: u64) -> Vec<(u64, u64, u64, u32)> {
    pieces.begin();
    for (id, start) in spans {
        let (header, bytes) = record(*id, *start, now);
        pieces.see(&header, &bytes, now);
    }
    pieces.forget_unseen();
    cut(pieces)
}

fn cut(pieces: &mut Pieces) -> Vec<(u64, u64, u64, u32)> {
    let mut all = Vec::new();
    pieces.cut(|bytes| {
        assert_eq!(RecordHeader::of(bytes).unwrap().length as usize, size_of::<Grpc>());
        all.push(told(bytes));
    });
    all
}

fn told(bytes: &[u8]) -> (u64, u64, u64, u32) {
    let header = RecordHeader::of(bytes).unwrap();
    (header.span_id, header.start, header.end, header.segment)
}

#[test]
fn pieces_follow_each_other_and_the_end_is_the_last_one() {
    let mut pieces = pieces();
    assert_eq!(look(&mut pieces, &[(7, 0)], SECOND - 1), []);
    assert_eq!(look(&mut pieces, &[(7, 0)], SECOND), [(7, 0, SECOND, 1 | segment::OPEN)]);
    assert_eq!(look(&mut pieces, &[(7, 0)], 2 * SECOND - 1), []);
    let second = (segment::id(7, 2), SECOND, 2 * SECOND, 2 | segment::OPEN);
    assert_eq!(look(&mut pieces, &[(7, 0)], 2 * SECOND), [second]);
    let (_, end) = record(7, 0, 2 * SECOND + 5);
    assert_eq!(told(pieces.ended(&end)), (segment::id(7, 3), 2 * SECOND, 2 * SECOND + 5, 3));
    assert!(pieces.open.is_empty());
}

#[test]
fn what_has_ended_since_it_was_looked_at_is_whole() {
    let mut pieces = pieces();
    pieces.begin();
    let (header, bytes) = record(7, 0, 2 * SECOND);
    pieces.see(&header, &bytes, 2 * SECOND);
    assert_eq!(told(pieces.ended(&bytes)), (7, 0, 2 * SECOND, 0));
    assert_eq!(cut(&mut pieces), []);
    // The programs forget it a moment later.
    assert_eq!(look(&mut pieces, &[(7, 0)], 2 * SECOND), []);
}

/// An end that was noted before a look may be sent after it.
#[test]
fn no_piece_begins_behind_its_end() {
    let mut pieces = pieces();
    assert_eq!(look(&mut pieces, &[(7, 0)], 2 * SECOND).len(), 1);
    let (_, end) = record(7, 0, 2 * SECOND - 1);
    assert_eq!(told(pieces.ended(&end)), (segment::id(7, 2), 2 * SECOND - 1, 2 * SECOND - 1, 2));
}

#[test]
fn short_calls_requests_and_records_that_cannot_be_read_have_no_pieces() {
    let mut pieces = pieces();
    let (_, short) = record(7, 0, SECOND - 1);
    assert_eq!(told(pieces.ended(&short)), (7, 0, SECOND - 1, 0));
    assert!(pieces.ends.order.is_empty());
    pieces.begin();
    let (header, bytes) = record(8, 0, 2 * SECOND);
    pieces.see(&RecordHeader { kind: RecordKind::HttpServer as u8, ..header }, &bytes, 2 * SECOND);
    pieces.see(&header, &bytes[..bytes.len() - 1], 2 * SECOND);
    assert_eq!(cut(&mut pieces), []);
    assert_eq!(pieces.ended(b"short"), b"short");
}

#[test]
fn what_is_cut_at_once_and_what_is_remembered_is_bounded() {
    let mut pieces = pieces();
    let spans: Vec<_> = (1..=MAX_CUTS as u64 + 3).map(|id| (id, 0)).collect();
    assert_eq!(look(&mut pieces, &spans, SECOND).len(), MAX_CUTS);
    // The rest comes next time.
    assert_eq!(look(&mut pieces, &spans, SECOND).len(), 3);
    // Their records were lost.
    for _ in 1..UNSEEN {
        look(&mut pieces, &[], SECOND);
        assert_eq!(pieces.open.len(), spans.len());
    }
    look(&mut pieces, &[], SECOND);
    assert!(pieces.open.is_empty());
    for id in 0..2 * ENDS as u64 {
        pieces.ended(&record(id, 0, SECOND).1);
    }
    assert_eq!((pieces.ends.order.len(), pieces.ends.all.len()), (ENDS, ENDS));
}
