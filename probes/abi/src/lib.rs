//! Types that the BPF programs and the agent share: same bytes on both sides, nothing that needs `std`.
#![no_std]
#![forbid(unsafe_code)]

/// An index into the BPF map `COUNTERS`, an array of 64-bit counts that only grow.
///
/// The numbers are part of the interface between a BPF object and the agent of the same build; they may change between
/// builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Probe hits that reached a BPF program.
    Hits = 0,
}

impl Counter {
    /// Every counter, in the order of the map.
    pub const ALL: [Self; Self::COUNT as usize] = [Self::Hits];

    /// The number of counters, and so of the map's elements.
    pub const COUNT: u32 = 1;

    /// The index of this counter's element in `COUNTERS`.
    pub const fn index(self) -> u32 {
        self as u32
    }
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn counters_are_listed_in_the_order_of_the_map() {
        for (position, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter.index() as usize, position, "{counter:?}");
        }
    }
}
