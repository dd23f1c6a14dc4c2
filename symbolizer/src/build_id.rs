//! The two build ids a Go program may carry as ELF notes.

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::NoteIterator;

use crate::image::Image;
use crate::source::Source;

/// Notes longer than this are not looked at; Go's are a hundred bytes.
const MAX_NOTES: u64 = 64 << 10;

/// Identities that the linkers wrote into the file; each is absent where the linker was told to leave it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildId {
    /// Go's own build id: action id and content id, separated by slashes.
    pub go: Option<String>,
    /// The GNU build id as hexadecimal digits (external linking, or `-B gobuildid` since Go 1.24).
    pub gnu: Option<String>,
}

impl BuildId {
    /// Reads the `PT_NOTE` segments; unreadable notes count as absent.
    pub fn read<S: Source>(image: &Image<S>) -> Self {
        let mut ids = Self::default();
        for &(offset, size, align) in &image.notes {
            let Some(length) = usize::try_from(size.min(MAX_NOTES)).ok() else { continue };
            let mut bytes = vec![0; length];
            if image.read_file(offset, &mut bytes).is_err() {
                continue;
            }
            let Ok(mut notes) = NoteIterator::<elf::FileHeader64<LE>>::new(LE, align, &bytes) else {
                continue;
            };
            while let Ok(Some(note)) = notes.next() {
                match note.name() {
                    // cmd/internal/buildid/note.go: ELF_NOTE_GOBUILDID_TAG = 4.
                    b"Go" if note.n_type(LE).0 == 4 => {
                        ids.go = Some(String::from_utf8_lossy(note.desc()).into_owned());
                    }
                    b"GNU" if note.n_type(LE) == elf::NT_GNU_BUILD_ID => {
                        let digits = note.desc().iter().flat_map(|byte| [byte >> 4, byte & 15]);
                        ids.gnu =
                            Some(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect());
                    }
                    _ => {}
                }
            }
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forged::Forged;

    #[test]
    fn notes_are_read_up_to_a_bound() {
        let head = |name: usize, content: usize, kind: u32| {
            [name, content]
                .map(|size| u32::try_from(size).unwrap())
                .into_iter()
                .chain([kind])
                .flat_map(u32::to_le_bytes)
        };
        let own: Vec<_> = head(4, 8, 4).chain(*b"Go\0\0an/ident").collect();
        for (beyond, id) in [(0, Some("an/ident")), (4, None)] {
            let filler = usize::try_from(MAX_NOTES).unwrap() - own.len() - 12 - 4 + beyond;
            let other = head(4, filler, 1).chain(*b"Go\0\0").chain(vec![0; filler]);
            let notes: Vec<_> = other.chain(own.clone()).collect();
            let mut program = Forged::new();
            let at = program.put(&notes);
            let file = program.file(&[(elf::PT_NOTE.0, at, notes.len() as u64)]);
            let found = BuildId::read(&Image::parse(file.as_slice()).unwrap());
            assert_eq!(found, BuildId { go: id.map(str::to_owned), gnu: None });
        }
    }
}
