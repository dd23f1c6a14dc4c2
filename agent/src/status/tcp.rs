//! A TCP port at which health can be asked by anybody, and the rest by whoever knows a token: for the probes of Kubernetes, and for
//! Prometheus.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ring::digest::{Digest, SHA256, digest};
use thiserror::Error;

/// Bytes of a token.
const TOKEN: std::ops::RangeInclusive<usize> = 16..=256;

/// Why nobody can listen there.
#[derive(Debug, Error)]
pub enum TcpError {
    /// The operating system refuses.
    #[error("cannot listen at {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// Whoever reaches the host could ask.
    #[error("{0} is not on loopback, so it takes a token (--status-token)")]
    Open(SocketAddr),
    /// The file with the token cannot be read.
    #[error("cannot read {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is no secret.
    #[error("{} can be read by others, or written by more than its owner: chmod 600", .0.display())]
    NoSecret(PathBuf),
    /// It is none.
    #[error("{} has no token: 16 to 256 characters without spaces, on one line", .0.display())]
    NoToken(PathBuf),
}

/// What it takes to answer there.
#[derive(Debug)]
pub struct Tcp {
    pub(super) listener: TcpListener,
    pub(super) token: Option<Token>,
}

/// Known by its digest alone, so that no comparison tells how much of it was right.
#[derive(Clone, Debug)]
pub(super) struct Token(Digest);

impl Tcp {
    /// Listens at an address, which must be on loopback if there is no file with a token.
    pub fn bind(address: SocketAddr, token: Option<&Path>) -> Result<Self, TcpError> {
        if token.is_none() && !address.ip().is_loopback() {
            return Err(TcpError::Open(address));
        }
        let token = token.map(read).transpose()?;
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|source| TcpError::Bind { address, source })?;
        Ok(Self { listener, token })
    }
}

impl Token {
    /// Whether it is in the value of a header `authorization` (RFC 6750).
    pub(super) fn is_in(&self, authorization: &[u8]) -> bool {
        let given =
            authorization.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        given.is_some_and(|(_, token)| digest(&SHA256, token.trim_ascii()).as_ref() == self.0.as_ref())
    }
}

fn read(path: &Path) -> Result<Token, TcpError> {
    let failed = |source| TcpError::Token { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & 0o027 != 0 {
        return Err(TcpError::NoSecret(path.to_owned()));
    }
    let mut text = Vec::new();
    file.take(2 * 256).read_to_end(&mut text).map_err(failed)?;
    let token = text.trim_ascii();
    let is_one = TOKEN.contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    if is_one { Ok(Token(digest(&SHA256, token))) } else { Err(TcpError::NoToken(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn beyond_loopback_it_takes_a_token_that_is_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let bind = |content: &str, mode| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Tcp::bind(any, Some(&path))
        };
        assert!(matches!(Tcp::bind(any, None), Err(TcpError::Open(_))));
        assert!(Tcp::bind("127.0.0.1:0".parse().unwrap(), None).unwrap().token.is_none());
        assert!(matches!(Tcp::bind(any, Some(&path)), Err(TcpError::Token { .. })));
        let token = "0123456789abcdef";
        for mode in [0o644, 0o620, 0o604] {
            assert!(matches!(bind(token, mode), Err(TcpError::NoSecret(_))), "{mode:o}");
        }
        for wrong in ["", "short", "with a space 0123456", &"x".repeat(257), "two\nlines0123456789"] {
            assert!(matches!(bind(wrong, 0o600), Err(TcpError::NoToken(_))), "{wrong:?}");
        }
        bind(&"x".repeat(256), 0o600).unwrap();
        let token = bind("0123456789abcdef\n", 0o440).unwrap().token.unwrap();
        assert!(token.is_in(b"Bearer 0123456789abcdef") && token.is_in(b"bearer 0123456789abcdef"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Basic 0123456789abcdef"] {
            assert!(!token.is_in(wrong.as_bytes()), "{wrong:?}");
        }
    }
}
