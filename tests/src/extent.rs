//! How much is tried: what fits into each run of the tests, all there is, or what an emulated machine has time for.

use std::env;
use std::ffi::OsStr;

/// The environment variable that decides; `make test-all` sets it to 1, and virtual machines have it as `least`.
pub const VARIABLE: &str = "LIGHTFOOT_TEST_ALL";

/// How much is tried. All go through the same code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What `make test` tries.
    Usual,
    /// What `make test-all` tries: every combination, long runs, large counts.
    All,
    /// The same as usual, but one build of several.
    Least,
}

impl Extent {
    /// What [`VARIABLE`] asks for: all if it is 1, the least if it is `least`, the usual if it is 0, empty or not set.
    ///
    /// # Panics
    /// If it is anything else: whoever set it wanted something.
    pub fn of_environment() -> Self {
        let value = env::var_os(VARIABLE);
        let extent = Self::of(value.as_deref());
        assert!(
            extent.is_some(),
            "{VARIABLE} is {value:?}: 1 asks for all, 0 for the usual, least for the least"
        );
        extent.unwrap_or(Self::Usual)
    }

    /// The one or the other; least is no less than usual here.
    pub fn pick<T>(self, usual: T, all: T) -> T {
        match self {
            Self::Usual | Self::Least => usual,
            Self::All => all,
        }
    }

    /// The whole list, or for the least its last element.
    pub fn some_of<T>(self, list: &[T]) -> &[T] {
        match (self, list) {
            (Self::Least, [.., last]) => std::slice::from_ref(last),
            _ => list,
        }
    }

    fn of(value: Option<&OsStr>) -> Option<Self> {
        match value.map(OsStr::as_encoded_bytes) {
            None | Some(b"" | b"0") => Some(Self::Usual),
            Some(b"1") => Some(Self::All),
            Some(b"least") => Some(Self::Least),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Extent;

    #[test]
    fn only_what_is_clear_is_taken() {
        for (value, extent) in [
            (None, Some(Extent::Usual)),
            (Some(""), Some(Extent::Usual)),
            (Some("0"), Some(Extent::Usual)),
            (Some("1"), Some(Extent::All)),
            (Some("least"), Some(Extent::Least)),
            (Some("yes"), None),
            (Some("11"), None),
        ] {
            assert_eq!(Extent::of(value.map(AsRef::as_ref)), extent, "{value:?}");
        }
        assert_eq!((Extent::Usual.pick(50, 1000), Extent::All.pick(50, 1000)), (50, 1000));
        assert_eq!((Extent::Usual.some_of(&[1, 2]), Extent::Least.some_of(&[1, 2])), (&[1, 2][..], &[2][..]));
    }
}
