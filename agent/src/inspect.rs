//! From a program's file to facts about it.
//!
//! The symbolizer opens no files; this module does, with `pread` in windows, and keeps of a program only what the
//! catalogue asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use lightfoot_symbolizer::binary::Binary;
use lightfoot_symbolizer::build_id::BuildId;
use lightfoot_symbolizer::build_info::BuildInfo;
use lightfoot_symbolizer::dwarf::{self, DwarfError};
use lightfoot_symbolizer::functions::{Function, FunctionError, Functions};
use lightfoot_symbolizer::types::{MapLayout, TypeError, Types};
use lightfoot_symbolizer::{
    Architecture, FileOffset, Refusal, Source, SourceError, VirtualAddress, goid, site,
};
use thiserror::Error;

use crate::catalog::{
    LIBRARIES, MapField, Operation, Place, connect, contexts, go_runtime, grpc, http2, own_instrumentation,
};

/// The code of so many functions is kept because something that the catalogue names was inlined there.
pub const MAX_HOSTS: usize = 256;

/// Why a program could not be inspected.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The file cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is a folder, a device, a socket.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// Which path.
        path: PathBuf,
    },
    /// It is no Go program that can be watched.
    #[error("{path} cannot be watched")]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Refusal,
    },
    /// Its functions cannot be read.
    #[error("the functions of {path} cannot be read")]
    Functions {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: FunctionError,
    },
    /// Its types cannot be read.
    #[error("the types of {path} cannot be read")]
    Types {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: TypeError,
    },
}

/// What is known of one program: all that a plan is made from.
pub struct Program {
    /// The processor it is built for.
    pub architecture: Architecture,
    /// Whether it is loaded at an address of the kernel's choice.
    pub position_independent: bool,
    /// Versions, modules, settings.
    pub build_info: BuildInfo,
    /// The linkers' identities of it.
    pub build_id: BuildId,
    /// The functions that the catalogue names, as far as the program has them.
    pub functions: Functions,
    /// The code of these functions, and of those into which calls that matter were inlined, by their entry.
    pub code: BTreeMap<VirtualAddress, Code>,
    /// The structs that the catalogue names, and the holders of contexts.
    pub types: Types,
    /// The layouts of the maps that the catalogue names.
    pub maps: BTreeMap<MapField, MapLayout>,
    /// The address of `runtime.sched.goidgen`, if it is wanted and can be proven.
    pub goidgen: Option<VirtualAddress>,
    /// What became of the search in DWARF for the structs that have no descriptor; `Ok` if none was needed.
    pub dwarf: Result<(), DwarfError>,
}

/// The code of a function.
pub struct Code {
    /// Where it lies in the file.
    pub offset: FileOffset,
    /// Its bytes, up to the next function.
    pub bytes: Vec<u8>,
}

impl Program {
    /// Inspects the file at `path`.
    pub fn inspect(path: &Path) -> Result<Self, InspectError> {
        Self::of(open(path)?, path)
    }

    /// Inspects what was opened at `path`.
    pub fn of(binary: Binary<FileSource>, path: &Path) -> Result<Self, InspectError> {
        let functions = |source| InspectError::Functions { path: path.into(), source };
        let found = binary.functions(&wanted_functions()).map_err(functions)?;
        let mut code = BTreeMap::new();
        for function in found.iter().chain(hosts(&found)) {
            let bytes = function.code(&binary.image).map_err(functions)?;
            let Some(offset) = binary.image.file_offset(function.entry) else { continue };
            if binary.image.is_executable(function.entry) {
                code.insert(function.entry, Code { offset, bytes });
            }
        }
        let wanted = wanted_types(&found);
        let through_request = contexts::THROUGH_REQUEST.iter().map(|layout| layout.name);
        let of_contexts = through_request.chain(own_instrumentation::structs());
        let with_contexts: Vec<_> = wanted.iter().copied().chain(of_contexts).collect();
        let mut types = binary
            .types(&with_contexts)
            .map_err(|source| InspectError::Types { path: path.into(), source })?;
        let missing: BTreeSet<&str> =
            wanted.into_iter().filter(|name| types.layout(name).is_none()).collect();
        let dwarf = if missing.is_empty() {
            Ok(())
        } else {
            dwarf::for_each_struct(
                binary.image.source(),
                |name| missing.contains(name),
                |layout| types.add(layout),
            )
        };
        let maps = map_layouts(&binary, &types);
        let goidgen = goidgen(&binary, &found, &code, &types);
        Ok(Self {
            maps,
            goidgen,
            architecture: binary.image.architecture,
            position_independent: binary.image.position_independent,
            build_info: binary.build_info,
            build_id: binary.build_id,
            functions: found,
            code,
            types,
            dwarf,
        })
    }
}

/// Opens the program at `path`; nothing of a size that grows with it is read yet.
pub fn open(path: &Path) -> Result<Binary<FileSource>, InspectError> {
    let file = File::open(path).map_err(|source| InspectError::Open { path: path.into(), source })?;
    let metadata = file.metadata().map_err(|source| InspectError::Open { path: path.into(), source })?;
    if !metadata.is_file() {
        return Err(InspectError::NotAFile { path: path.into() });
    }
    let source = FileSource { file, size: metadata.len() };
    Binary::open(source).map_err(|source| InspectError::Refused { path: path.into(), source })
}

/// Where the runtime counts goroutine ids, in programs whose watching needs `runtime.p`.
fn goidgen<S: Source>(
    binary: &Binary<S>,
    functions: &Functions,
    code: &BTreeMap<VirtualAddress, Code>,
    types: &Types,
) -> Option<VirtualAddress> {
    let entry = functions.get(go_runtime::NEWPROC1).ok()?.entry;
    let goidcache = types.layout(go_runtime::P.name)?.field("goidcache")?.offset;
    let architecture = binary.image.architecture;
    let found =
        goid::goidgen(site::Code { architecture, entry, bytes: &code.get(&entry)?.bytes }, goidcache)?;
    binary.image.segments.iter().any(|segment| segment.is_variable(found)).then_some(found)
}

/// All functions in the catalogue.
fn wanted_functions() -> Vec<&'static str> {
    let mut names = BTreeSet::from([go_runtime::NEWPROC1]);
    names.extend(grpc::PROCESS_CALL);
    names.extend(grpc::UNARY);
    names.extend(http2::SENDERS.map(|sender| sender.caller));
    names.insert(connect::OF_NOTHING);
    names.extend(own_instrumentation::functions());
    names.extend(operations().filter_map(|operation| operation.only_with).map(|(function, _)| function));
    let inlined = operations().filter_map(|operation| operation.inlined);
    names.extend(inlined.flat_map(|inlined| inlined.functions.iter().chain(inlined.callees)));
    for way in operations().flat_map(|operation| operation.points).flat_map(|point| point.ways) {
        names.insert(way.function);
        match *way.place.itself() {
            Place::Entry { called_from: Some(other), .. }
            | Place::CallOf(other)
            | Place::CallsOf(other)
            | Place::CallWith { callee: other, .. }
            | Place::CallOnStack { callee: other, .. }
            | Place::AfterCallOf { callee: other, .. } => {
                names.insert(other);
            }
            Place::CallBehind { first, callee } => names.extend([first, callee]),
            Place::Nowhere { unless } => names.extend(unless.map(|(other, _)| other)),
            Place::Entry { called_from: None, .. }
            | Place::AfterInterfaceCalls { .. }
            | Place::WithReceiver(_)
            | Place::WithArgument { .. }
            | Place::Returns
            | Place::EmulatedReturns => {}
        }
    }
    names.into_iter().collect()
}

/// The functions into which those of [`Inlined`](crate::catalog::Inlined) were inlined.
fn hosts(functions: &Functions) -> impl Iterator<Item = &Function> {
    let inlined = operations().filter_map(|operation| operation.inlined);
    let names = inlined.flat_map(|inlined| inlined.functions);
    names.flat_map(|name| functions.inlined_into(name)).take(MAX_HOSTS)
}

/// The structs of those operations that the program has: others would send us to DWARF for nothing.
fn wanted_types(functions: &Functions) -> Vec<&'static str> {
    let is_there = |operation: &&Operation| operation.starts().any(|way| functions.get(way.function).is_ok());
    let layouts = operations().filter(is_there).flat_map(|operation| operation.layouts);
    layouts.map(|layout| layout.name).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The layouts of the maps in structs that have a descriptor; a map that cannot be told is left out.
fn map_layouts<S: Source>(binary: &Binary<S>, types: &Types) -> BTreeMap<MapField, MapLayout> {
    let descriptors = binary.descriptors();
    let maps = operations().flat_map(|operation| operation.maps).filter_map(|map| {
        let field = types.layout(map.structure)?.field(map.field)?;
        Some((*map, descriptors.map(field.descriptor?).ok()?))
    });
    maps.collect()
}

fn operations() -> impl Iterator<Item = &'static Operation> {
    LIBRARIES.iter().flat_map(|library| library.operations)
}

/// A file read with `pread`; a file that is truncated meanwhile gives an error, not a signal.
pub struct FileSource {
    file: File,
    size: u64,
}

impl Source for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        self.file.read_exact_at(buffer, offset).map_err(|source| SourceError::Io {
            offset,
            length: buffer.len(),
            source,
        })
    }
}
