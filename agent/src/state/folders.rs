//! Where marks are if nothing is said: places that outlive the process, the first of which that can be used is taken.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::StateError;

/// Whoever may write into one of these may take away what others have there.
const STICKY: u32 = 0o1000;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The folders of this user, in the order in which they are tried.
///
/// - `/run/lightfoot`, which root can make;
/// - `lightfoot` in `$XDG_RUNTIME_DIR`, which is there as long as the user is logged in;
/// - `lightfoot-UID` in `/dev/shm`, memory that a container has even where its root is read-only, and that stays in a pod
///   of Kubernetes when a container of it starts again;
/// - `lightfoot-UID` in `/tmp`, which is often the only place that a container may write.
pub fn default_folders() -> Vec<PathBuf> {
    folders(env::var_os("XDG_RUNTIME_DIR"))
}

fn folders(runtime: Option<OsString>) -> Vec<PathBuf> {
    let runtime = runtime.map(PathBuf::from).filter(|folder| folder.is_absolute());
    let own = format!("lightfoot-{}", rustix::process::geteuid().as_raw());
    let shared = ["/dev/shm", "/tmp"].map(|folder| Path::new(folder).join(&own));
    let first = PathBuf::from("/run/lightfoot");
    [first].into_iter().chain(runtime.map(|folder| folder.join("lightfoot"))).chain(shared).collect()
}

/// Fails if another user could put something else in the place of the folder: what is written there could land anywhere.
pub(super) fn check(folder: &Path) -> Result<(), StateError> {
    let foreign = || StateError::Foreign { folder: folder.to_owned() };
    // Not where a link leads to.
    let metadata = fs::symlink_metadata(folder).map_err(|_| foreign())?;
    let is_own = metadata.is_dir() && metadata.uid() == own() && metadata.mode() & WRITABLE_BY_OTHERS == 0;
    if is_own { Ok(()) } else { Err(foreign()) }
}

/// Whether what is in a folder comes from this user, or from somebody whom whoever owns the place of the folder let have it.
pub fn is_trustworthy(folder: &Path) -> bool {
    let is_closed = |parent: &Path| {
        fs::metadata(parent).is_ok_and(|metadata| {
            metadata.mode() & WRITABLE_BY_OTHERS == 0 && [0, own()].contains(&metadata.uid())
        })
    };
    check(folder).is_ok() || folder.parent().is_some_and(is_closed)
}

/// Fails if another user could take away a folder in there.
pub(super) fn check_parent(folder: &Path) -> Result<(), StateError> {
    let foreign = || StateError::Foreign { folder: folder.to_owned() };
    let metadata = folder.parent().and_then(|parent| fs::metadata(parent).ok());
    let is_safe = metadata.is_some_and(|metadata| {
        let is_closed = metadata.mode() & WRITABLE_BY_OTHERS == 0 || metadata.mode() & STICKY != 0;
        is_closed && [0, own()].contains(&metadata.uid())
    });
    if is_safe { Ok(()) } else { Err(foreign()) }
}

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_folders_is_that_of_the_documentation() {
        let own = own();
        let shown = |runtime: Option<&str>| {
            let folders = folders(runtime.map(Into::into));
            folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>()
        };
        let shared = [format!("/dev/shm/lightfoot-{own}"), format!("/tmp/lightfoot-{own}")];
        let expected = [&["/run/lightfoot".to_owned()][..], &shared].concat();
        assert_eq!(shown(None), expected);
        assert_eq!(shown(Some("relative")), expected);
        let mut with_runtime = expected;
        with_runtime.insert(1, "/run/user/7/lightfoot".to_owned());
        assert_eq!(shown(Some("/run/user/7")), with_runtime);
    }
}
