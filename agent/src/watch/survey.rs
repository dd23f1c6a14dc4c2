//! What would become of each process, without watching any.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lightfoot_symbolizer::build_info::BuildInfo;

use super::analysis::Analysis;
use super::claims::Claims;
use super::{Coexistence, WatchError};
use crate::discover::selection::Rule;
use crate::discover::{Decision, FileIdentity, Listeners, Proc, Selection, Treatment};
use crate::sys;

/// A process, and what would become of it.
#[derive(Debug)]
pub struct Candidate {
    /// Its number.
    pub pid: u32,
    /// Its program's path, as it sees it.
    pub executable: PathBuf,
    /// Whether it would be watched, and the rule that says so.
    pub decision: Decision,
    /// Why it cannot be watched, whatever the rule says; also of those that are left alone.
    pub obstacle: Option<WatchError>,
    /// What it was built from, if that was looked at and it can be watched.
    pub build_info: Option<Arc<BuildInfo>>,
    /// What rules say of its spans.
    pub treatment: Treatment,
}

/// All processes that run a program, by number; and how many there are whose program may not be seen.
pub fn survey(
    proc: &Proc,
    selection: &Selection,
    coexistence: Coexistence,
) -> io::Result<(Vec<Candidate>, usize)> {
    let mut binaries = HashMap::new();
    let claims = Claims::new();
    let mut listeners = Listeners::new(proc, selection);
    let (mut candidates, mut hidden) = (Vec::new(), 0);
    for pid in proc.pids()? {
        let Some(executable) = proc.executable_path(pid) else {
            // A kernel thread has no program; of others it may not be seen whether they do.
            hidden += usize::from(std::fs::read_link(proc.executable(pid)).is_err_and(is_denied));
            continue;
        };
        let looked = selection.look(proc, pid, &executable, &listeners.of(pid), None);
        let needs_file = !matches!(looked.decision, Some(Decision::Leave(_) | Decision::Wait(_)));
        let analysis = if needs_file { Some(analysis(&mut binaries, proc, pid, coexistence)) } else { None };
        let result = analysis.transpose();
        let found = result.as_ref().ok().and_then(Option::as_ref);
        let found = found.map(|(build_info, is_server)| (&**build_info, *is_server));
        let decision = match selection.after_inspection(looked.decision, found) {
            Decision::Watch(_) if looked.awaits_pod => Decision::Wait(Rule::PodUnknown),
            decision => decision,
        };
        let (build_info, obstacle) = match result {
            Ok(found) => (found.map(|(build_info, _)| build_info), claims.check(pid).err()),
            Err(obstacle) => (None, Some(obstacle)),
        };
        let treatment = looked.treatment;
        candidates.push(Candidate { pid, executable, decision, obstacle, build_info, treatment });
    }
    candidates.sort_by_key(|candidate| candidate.pid);
    Ok((candidates, hidden))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `is_err_and` takes")]
fn is_denied(error: io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// What a program was built from, and whether it is a server.
fn analysis(
    binaries: &mut HashMap<FileIdentity, Result<Analysis, WatchError>>,
    proc: &Proc,
    pid: u32,
    coexistence: Coexistence,
) -> Result<(Arc<BuildInfo>, bool), WatchError> {
    let open = |error| WatchError::Open(Arc::new(error));
    let file = File::open(proc.executable(pid)).map_err(open)?;
    let identity = FileIdentity::of_open(&file).map_err(open)?;
    let analysis = binaries.entry(identity).or_insert_with(|| {
        let analysis = Analysis::of(&file, coexistence);
        sys::give_back_memory();
        analysis
    });
    let analysis = analysis.as_ref().map_err(Clone::clone)?;
    Ok((Arc::clone(&analysis.build_info), analysis.is_server))
}
