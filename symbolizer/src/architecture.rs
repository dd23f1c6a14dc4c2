//! The processor architectures that Lightfoot supports.

use std::fmt;

/// A supported architecture; both are 64-bit and little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// x86-64, Go's `amd64`.
    X86_64,
    /// AArch64, Go's `arm64`.
    Aarch64,
}

impl Architecture {
    /// Go's name for it (`GOARCH`).
    pub fn goarch(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86-64",
            Self::Aarch64 => "arm64",
        })
    }
}
