//! Lets aya copy the types in and out of maps.

use crate::{Counters, InFlight, InFlightKey, Layout, PidNamespace, Process, Settings, Site};

macro_rules! plain {
    ($($name:ty)+) => {
        $(
            // SAFETY: a `repr(C)` struct of integers without padding (its size is asserted to be the sum of its fields').
            unsafe impl aya::Pod for $name {}
        )+
    };
}

plain!(Counters InFlight InFlightKey Layout PidNamespace Process Settings Site);
