//! Pieces of a span that is open for long, of which it is told before its end.
//!
//! The first one has the span's own id, which is the parent of what is called meanwhile; the ids of the others follow from it. Each has
//! the same parent.

/// In [`crate::RecordHeader::segment`], beside the number, which counts from 1: the span was still open then.
pub const OPEN: u32 = 1 << 31;

/// The id of a piece, by the span's own id and the piece's number. As integers of the machine, as they are in records.
pub const fn id(span_id: u64, number: u32) -> u64 {
    span_id ^ key(number)
}

/// The id of the piece before the one of this id and number, which is 2 or more.
pub const fn id_before(id: u64, number: u32) -> u64 {
    id ^ key(number) ^ key(number.wrapping_sub(1))
}

/// Another number for each: that of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators), which is one to one.
const fn key(number: u32) -> u64 {
    let mut mixed = (number as u64).wrapping_sub(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::{id, id_before};

    #[test]
    fn pieces_have_ids_of_their_own_and_lead_back_to_the_span() {
        let span_id = 0x0123_4567_89ab_cdef;
        assert_eq!(id(span_id, 1), span_id);
        for number in 2..1000 {
            assert_eq!(id_before(id(span_id, number), number), id(span_id, number - 1));
            for other in 1..number {
                assert_ne!(id(span_id, number), id(span_id, other));
            }
        }
    }
}
