//! Where an agent listens: a socket for its user alone.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::geteuid;
use thiserror::Error;

/// Connections that wait for their turn; further ones are refused by the kernel.
const BACKLOG: i32 = 32;
/// The longest path, in bytes.
const MAX_PATH: usize = 107;

/// Why nobody can listen there.
#[derive(Debug, Error)]
pub enum SocketError {
    /// It is longer than the kernel permits.
    #[error("the path {} is too long for a socket: {MAX_PATH} bytes is the most", .0.display())]
    TooLong(PathBuf),
    /// Something else is there.
    #[error("{} is in use", .0.display())]
    InUse(PathBuf),
    /// The operating system refuses.
    #[error("cannot listen at {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A socket with its name, which goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens at `path`, which only this user and root can then connect to. A socket of this user that is there already and at which
    /// nobody listens is replaced.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |error: Errno| SocketError::Io { path: path.to_owned(), source: error.into() };
        // One byte more would do for the kernel, but not for most who are to connect (unix(7)).
        let address = SocketAddrUnix::new(path).ok().filter(|_| path.as_os_str().len() <= MAX_PATH);
        let address = address.ok_or_else(|| SocketError::TooLong(path.to_owned()))?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
        // Its file gets the mode of the socket (net/unix/af_unix.c, unix_bind_bsd): at no moment others can open it.
        fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        match bind(&socket, &address) {
            Err(Errno::ADDRINUSE) if is_stale(path) => {
                fs::remove_file(path).map_err(|source| SocketError::Io { path: path.to_owned(), source })?;
                bind(&socket, &address).map_err(failed)?;
            }
            Err(Errno::ADDRINUSE) => return Err(SocketError::InUse(path.to_owned())),
            bound => bound.map_err(failed)?,
        }
        listen(&socket, BACKLOG).map_err(failed)?;
        Ok(Self { listener: UnixListener::from(socket), path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // If it stays, the next agent takes it away.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether it is a socket of this user at which nobody listens.
fn is_stale(path: &Path) -> bool {
    let is_own = fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.file_type().is_socket() && metadata.uid() == geteuid().as_raw());
    is_own && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_socket_is_for_its_user_alone_and_goes_with_whoever_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(matches!(Socket::bind(&path), Err(SocketError::InUse(_))));
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_agent_left_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Socket::bind(&path).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::InUse(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_path_that_is_too_long_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let of = |length: usize| {
            let own = folder.path().as_os_str().len() + 1;
            folder.path().join("s".repeat(length - own))
        };
        let error = Socket::bind(&of(108)).unwrap_err();
        assert!(error.to_string().contains("107 bytes is the most"), "{error}");
        Socket::bind(&of(107)).unwrap();
        assert!(matches!(Socket::bind(Path::new("/nowhere/socket")), Err(SocketError::Io { .. })));
    }
}
