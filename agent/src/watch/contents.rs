//! Files with the same content, as an image has for each of its containers: one analysis serves all.
//!
//! Content is told by its SHA-256, so nobody can pass a file off as another one. To compute that takes about as long as an analysis
//! where the processor has instructions for it, so it is done only where a file looks like one that is known: what is saved is the memory
//! of a second analysis.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use lightfoot_symbolizer::build_id::BuildId;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use crate::discover::FileIdentity;

/// So many contents are known, whose analyses are in use; then the oldest goes.
pub(super) const MAX_CONTENTS: usize = 256;
/// A larger file is analysed by itself: a sparse one may be of any size.
const MAX_BYTES: u64 = 512 << 20;
/// So much is read at once.
const WINDOW: usize = 128 << 10;

/// What tells a content.
type Digest = [u8; SHA256_OUTPUT_LEN];

/// What is known of contents, as long as somebody uses it.
pub(super) struct Contents<T>(VecDeque<Content<T>>);

/// A content, and what is known of it.
struct Content<T> {
    looks: Looks,
    origin: Origin,
    /// `None` until another file looks alike.
    digest: Option<Digest>,
    of: Weak<T>,
}

/// What two files have in common that may have the same content; nobody is to be believed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Looks {
    size: u64,
    build_id: BuildId,
}

/// Where a content was found, to be read once more if that should be needed. Nothing is held open: that would keep a mount busy.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// As `/proc/PID/exe`: what is there may be another file by now.
    place: PathBuf,
    state: State,
}

/// What changes whenever the content of a file does, and nobody can set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    identity: FileIdentity,
    changed: (i64, i64),
}

impl From<&Metadata> for State {
    fn from(metadata: &Metadata) -> Self {
        Self { identity: metadata.into(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }
}

impl Looks {
    pub(super) fn of(file: &File, build_id: &BuildId) -> io::Result<Self> {
        Ok(Self { size: file.metadata()?.len(), build_id: build_id.clone() })
    }
}

impl Origin {
    /// An open file that stands at `place`, before it is read.
    pub(super) fn of(place: PathBuf, file: &File) -> io::Result<Self> {
        Ok(Self { place, state: State::from(&file.metadata()?) })
    }

    /// The digest of what was there, if it is still there.
    fn digest(&self) -> Option<Digest> {
        let file = File::open(&self.place).ok()?;
        let is_same = || file.metadata().is_ok_and(|metadata| State::from(&metadata) == self.state);
        // Also after it was read: it may be written to meanwhile.
        let digest = if is_same() { digest(&file).ok().flatten() } else { None };
        digest.filter(|_| is_same())
    }
}

impl<T> Contents<T> {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    /// What is known of the content of a file, if anything is; and its digest, if that had to be taken.
    pub(super) fn find(&mut self, looks: &Looks, file: &File) -> (Option<Arc<T>>, Option<Digest>) {
        let mut own = None;
        for content in self.0.iter_mut().filter(|content| content.looks == *looks) {
            let Some(of) = content.of.upgrade() else { continue };
            own = own.or_else(|| digest(file).ok().flatten());
            content.digest = content.digest.or_else(|| content.origin.digest());
            if own.is_some() && content.digest == own {
                return (Some(of), own);
            }
        }
        (None, own)
    }

    pub(super) fn insert(&mut self, looks: Looks, origin: Origin, digest: Option<Digest>, of: &Arc<T>) {
        self.0.retain(|content| content.of.strong_count() != 0);
        if self.0.len() >= MAX_CONTENTS {
            self.0.pop_front();
        }
        self.0.push_back(Content { looks, origin, digest, of: Arc::downgrade(of) });
    }
}

/// The digest of a file; `None` if it is too large.
fn digest(file: &File) -> io::Result<Option<Digest>> {
    let mut context = Context::new(&SHA256);
    let mut window = vec![0; WINDOW];
    let mut offset = 0_u64;
    loop {
        let length = file.read_at(&mut window, offset)?;
        if length == 0 {
            return Ok(context.finish().as_ref().try_into().ok());
        }
        context.update(window.get(..length).unwrap_or_default());
        offset = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        if offset > MAX_BYTES {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use tempfile::TempDir;

    use super::*;

    /// A file, and what is known of it before it is read.
    fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> (File, Looks, Origin) {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let build_id = BuildId { go: Some("a/b".into()), gnu: None };
        let (looks, origin) = (Looks::of(&file, &build_id).unwrap(), Origin::of(path, &file).unwrap());
        (file, looks, origin)
    }

    #[test]
    fn as_many_contents_are_known_as_may_be_and_then_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut contents = Contents::new();
        let mut used: Vec<_> = (0..=MAX_CONTENTS).map(Arc::new).collect();
        let files: Vec<_> = used
            .iter()
            .map(|number| file(&folder, &number.to_string(), format!("{number:04}").as_bytes()))
            .collect();
        let insert = |contents: &mut Contents<usize>, number: usize, of: &Arc<usize>| {
            let (file, looks, origin) = &files[number];
            contents.insert(looks.clone(), origin.clone(), digest(file).unwrap(), of);
        };
        let find = |contents: &mut Contents<usize>, number: usize| {
            let (file, looks, _) = &files[number];
            contents.find(looks, file).0.map(|of| *of)
        };
        for (number, of) in used.iter().enumerate().take(MAX_CONTENTS) {
            insert(&mut contents, number, of);
        }
        assert!((0..MAX_CONTENTS).all(|number| find(&mut contents, number) == Some(number)));
        insert(&mut contents, MAX_CONTENTS, &used[MAX_CONTENTS]);
        assert_eq!(contents.0.len(), MAX_CONTENTS);
        assert_eq!(find(&mut contents, 0), None, "the oldest");
        assert_eq!(find(&mut contents, MAX_CONTENTS), Some(MAX_CONTENTS));
        // What nobody uses any more is not known, and leaves room.
        drop(used.split_off(100));
        assert_eq!(find(&mut contents, 100), None);
        insert(&mut contents, 0, &used[0]);
        assert_eq!(contents.0.len(), 100);
    }

    /// Nothing is read of a file that looks like no other, and of others once.
    #[test]
    fn a_digest_is_taken_where_files_look_alike_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (first, looks, origin) = file(&folder, "first", b"content");
        let (known, mut contents) = (Arc::new(1), Contents::new());
        assert_eq!(contents.find(&looks, &first), (None, None));
        contents.insert(looks.clone(), origin, None, &known);
        let (longer, looks_longer, _) = file(&folder, "longer", b"content.");
        assert_eq!(contents.find(&looks_longer, &longer), (None, None));
        let other_build = Looks { build_id: BuildId::default(), ..looks.clone() };
        assert_eq!(contents.find(&other_build, &first), (None, None));
        assert_eq!(contents.0[0].digest, None, "nobody has read it");

        let (copy, _, _) = file(&folder, "copy", b"content");
        assert_eq!(contents.find(&looks, &copy), (Some(Arc::clone(&known)), digest(&copy).unwrap()));
        let (other, _, _) = file(&folder, "other", b"CONTENT");
        assert_eq!(contents.find(&looks, &other), (None, digest(&other).unwrap()));
    }

    /// Whoever owns a file can change it, and set its times back.
    #[test]
    fn what_has_changed_since_is_not_taken_for_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (first, looks, origin) = file(&folder, "first", b"content");
        let (copy, _, _) = file(&folder, "copy", b"CONTENT");
        let (known, mut contents) = (Arc::new(1), Contents::new());
        contents.insert(looks.clone(), origin, None, &known);
        let modified = first.metadata().unwrap().modified().unwrap();
        // Times of files are no finer than some milliseconds.
        std::thread::sleep(Duration::from_millis(50));
        first.write_all_at(b"CONTENT", 0).unwrap();
        first.set_modified(modified).unwrap();
        assert_eq!(contents.find(&looks, &copy), (None, digest(&copy).unwrap()));
        // Nor is another file in its place.
        first.set_modified(SystemTime::now()).unwrap();
        fs::rename(folder.path().join("copy"), folder.path().join("first")).unwrap();
        assert_eq!(contents.find(&looks, &copy).0, None);
        fs::remove_file(folder.path().join("first")).unwrap();
        assert_eq!(contents.find(&looks, &copy).0, None);
    }

    #[test]
    fn a_content_is_told_by_all_of_its_bytes_and_a_huge_one_by_none() {
        let folder = tempfile::tempdir().unwrap();
        let digest_of = |name: &str, bytes: &[u8]| digest(&file(&folder, name, bytes).0).unwrap();
        let mut bytes = vec![7; 3 * WINDOW + 1];
        let first = digest_of("first", &bytes);
        assert!(first.is_some());
        assert_eq!(digest_of("copy", &bytes), first);
        *bytes.last_mut().unwrap() = 8;
        assert_ne!(digest_of("other", &bytes), first);
        // FIPS 180-4, example B.1.
        assert_eq!(digest_of("abc", b"abc").unwrap()[..4], [0xba, 0x78, 0x16, 0xbf]);
        let (sparse, _, _) = file(&folder, "sparse", b"");
        sparse.set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(digest(&sparse).unwrap(), None);
    }
}
