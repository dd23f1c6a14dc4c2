//! Files with the same content, as an image has for each of its containers: one analysis serves all.
//!
//! Content is told by its SHA-256, so nobody can pass a file off as another one. To compute that takes about as long as an analysis
//! where the processor has instructions for it: what is saved is the memory of a second one.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Weak};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

/// So many contents are known, whose analyses are in use; then the oldest goes.
pub(super) const MAX_CONTENTS: usize = 256;
/// A larger file is analysed by itself: a sparse one may be of any size.
const MAX_BYTES: u64 = 512 << 20;
/// So much is read at once.
const WINDOW: usize = 128 << 10;

/// What tells a content.
pub(super) type Digest = [u8; SHA256_OUTPUT_LEN];

/// What is known of contents, as long as somebody uses it.
pub(super) struct Contents<T>(VecDeque<(Digest, Weak<T>)>);

impl<T> Contents<T> {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<T>> {
        self.0.iter().find(|(known, _)| known == digest)?.1.upgrade()
    }

    pub(super) fn insert(&mut self, digest: Digest, of: &Arc<T>) {
        self.0.retain(|(known, of)| *known != digest && of.strong_count() != 0);
        if self.0.len() >= MAX_CONTENTS {
            self.0.pop_front();
        }
        self.0.push_back((digest, Arc::downgrade(of)));
    }
}

/// The digest of a file; `None` if it is too large.
pub(super) fn digest(file: &File) -> io::Result<Option<Digest>> {
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
    use super::*;

    #[test]
    fn as_many_contents_are_known_as_may_be_and_then_the_oldest_goes() {
        let digest =
            |number: usize| [u8::try_from(number % 256).unwrap(), u8::from(number >= 256)].repeat(16);
        let digest = |number| Digest::try_from(digest(number).as_slice()).unwrap();
        let mut contents = Contents::new();
        let mut used: Vec<_> = (0..MAX_CONTENTS).map(Arc::new).collect();
        for of in &used {
            contents.insert(digest(**of), of);
        }
        assert!(used.iter().all(|of| contents.get(&digest(**of)).as_ref() == Some(of)));
        // The same one again takes no room.
        contents.insert(digest(1), &used[1]);
        assert_eq!(contents.get(&digest(0)).as_ref(), used.first());
        let one_more = Arc::new(MAX_CONTENTS);
        contents.insert(digest(*one_more), &one_more);
        assert_eq!(contents.0.len(), MAX_CONTENTS);
        assert_eq!(contents.get(&digest(0)), None, "the oldest");
        assert_eq!(contents.get(&digest(*one_more)), Some(one_more));
        // What nobody uses any more is not known, and leaves room.
        drop(used.split_off(100));
        assert_eq!(contents.get(&digest(100)), None);
        contents.insert(digest(0), &used[0]);
        assert_eq!(contents.0.len(), 100);
    }

    #[test]
    fn a_content_is_told_by_all_of_its_bytes_and_a_huge_one_by_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            File::options().read(true).write(true).open(path).unwrap()
        };
        let mut bytes = vec![7; 3 * WINDOW + 1];
        let first = digest(&file("first", &bytes)).unwrap();
        assert!(first.is_some());
        assert_eq!(digest(&file("copy", &bytes)).unwrap(), first);
        *bytes.last_mut().unwrap() = 8;
        assert_ne!(digest(&file("other", &bytes)).unwrap(), first);
        // FIPS 180-4, example B.1.
        assert_eq!(digest(&file("abc", b"abc")).unwrap().unwrap()[..4], [0xba, 0x78, 0x16, 0xbf]);
        let sparse = file("sparse", b"");
        sparse.set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(digest(&sparse).unwrap(), None);
    }
}
