//! The names of the types that records mention by the addresses of their descriptors.
//!
//! They are read from the program's file, each once. The file is kept open: a program may end with its first failure.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use lightfoot_symbolizer::VirtualAddress;

use crate::inspect;

/// At most so many types of a program are looked up; further ones have no name.
pub const MAX_TYPE_NAMES: usize = 1024;

/// The names of a program's types.
#[derive(Debug)]
pub struct TypeNames {
    /// `None` if only those are known that [`TypeNames::learn`] was told.
    file: Option<Arc<File>>,
    known: Mutex<HashMap<u64, Option<String>>>,
}

impl TypeNames {
    /// Those of the program in `file`.
    pub fn new(file: Arc<File>) -> Self {
        Self { file: Some(file), known: Mutex::default() }
    }

    /// Those of a program that is not at hand.
    pub fn recorded() -> Self {
        Self { file: None, known: Mutex::default() }
    }

    /// Tells what a type is called, unless too many are known.
    pub fn learn(&self, descriptor: u64, name: Option<String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_TYPE_NAMES {
            known.insert(descriptor, name);
        }
    }

    /// The name of the type whose descriptor has this virtual address, as `reflect.Type.String` has it; `None` if none can
    /// be told.
    pub fn get(&self, descriptor: u64) -> Option<String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.get(&descriptor) {
            return name.clone();
        }
        if known.len() >= MAX_TYPE_NAMES {
            return None;
        }
        let name = self.read(descriptor);
        known.insert(descriptor, name.clone());
        name
    }

    /// All that were looked up, by address.
    pub fn known(&self) -> HashMap<u64, Option<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read(&self, descriptor: u64) -> Option<String> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_ref()?.as_raw_fd()));
        let binary = inspect::open(&path).ok()?;
        binary.descriptors().type_name(VirtualAddress(descriptor)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_has_no_types_and_only_so_many_are_looked_up() {
        let names = TypeNames::new(Arc::new(File::open("/proc/self/exe").unwrap()));
        for descriptor in 0..2 * MAX_TYPE_NAMES as u64 {
            assert_eq!(names.get(descriptor), None);
        }
        assert_eq!(names.known().len(), MAX_TYPE_NAMES);
    }
}
