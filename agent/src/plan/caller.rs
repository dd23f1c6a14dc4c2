//! Sites behind calls that were seen to be made: who calls through an interface is known only while a program runs.

use lightfoot_symbolizer::binary::Binary;
use lightfoot_symbolizer::functions::FunctionError;
use lightfoot_symbolizer::go_abi::GoType;
use lightfoot_symbolizer::site::{self, SiteError};
use lightfoot_symbolizer::{Source, VirtualAddress};
use thiserror::Error;

use super::{PlannedSite, ways};

/// Why there is no site behind a call.
#[derive(Debug, Error)]
pub enum CallerError {
    /// The address lies in no function of the program, or its code cannot be read.
    #[error("the code that {return_address} returns to cannot be read")]
    NoCode {
        /// Where the call returns to.
        return_address: VirtualAddress,
        /// Why.
        source: FunctionError,
    },
    /// It lies where nothing is executed.
    #[error("{return_address} lies outside of the program's code")]
    NotExecutable {
        /// Where the call returns to.
        return_address: VirtualAddress,
    },
    /// The results do not fit Go's calling convention.
    #[error("{0}")]
    Results(String),
    /// The function has no instruction that will do.
    #[error("in {function}")]
    NoSite {
        /// The function that the address lies in.
        function: String,
        /// Why.
        source: SiteError,
    },
}

/// Where a call has returned, and what function it lies in.
#[derive(Debug)]
pub struct Caller {
    /// The function that makes the call.
    pub function: String,
    /// The first emulated instruction behind the call, with all words of the results intact. If there is none, and the caller
    /// returns what it got, its return instruction, which is single-stepped on x86-64.
    pub site: PlannedSite,
}

/// Finds the function that `return_address` (as in the file: the load bias taken off) lies in and proves that a call ends
/// there; then the place behind it at which the results of the callee can still be read.
///
/// It reads that one function's code, works in stripped programs too, and takes the address for anything at all: it
/// may have been read off a stack that was overwritten meanwhile.
pub fn caller<S: Source>(
    binary: &Binary<S>,
    return_address: VirtualAddress,
    results: &[GoType<'_>],
) -> Result<Caller, CallerError> {
    let no_code = |source| CallerError::NoCode { return_address, source };
    // A call can be the last instruction of a function; what it returns to then lies in the next one.
    let call = VirtualAddress(return_address.0.saturating_sub(1));
    let function = binary.function_at(call).map_err(no_code)?;
    let offset = binary.image.file_offset(function.entry);
    let offset = offset.filter(|_| binary.image.is_executable(function.entry));
    let offset = offset.ok_or(CallerError::NotExecutable { return_address })?;
    let bytes = function.code(&binary.image).map_err(no_code)?;
    let architecture = binary.image.architecture;
    let keep = ways::all_results(results, architecture).map_err(CallerError::Results)?;
    let code = site::Code { architecture, entry: function.entry, bytes: &bytes };
    let found = site::after_return(code, return_address, &keep);
    let site = found.map_err(|source| CallerError::NoSite { function: function.name.clone(), source })?;
    let site = PlannedSite::of(site, function.entry, offset, keep)
        .map_err(|_| CallerError::NotExecutable { return_address })?;
    Ok(Caller { function: function.name, site })
}
