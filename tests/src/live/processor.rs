//! What a process has run. `/proc/PID/stat` has it in hundredths of a second, `schedstat` in nanoseconds.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::LiveError;

/// What all threads of a process have run that are there.
pub fn processor_time(pid: u32) -> Result<Duration, LiveError> {
    let tasks = format!("/proc/{pid}/task");
    let failed = || LiveError::io("listing", Path::new(&tasks));
    let mut time = Duration::ZERO;
    for thread in fs::read_dir(&tasks).map_err(failed())? {
        let thread = thread.map_err(failed())?.path();
        match run_time(&thread) {
            Err(_) if !thread.exists() => {} // It has ended since.
            run => time += run?,
        }
    }
    Ok(time)
}

/// What the first thread of a process has run: of an agent, the one that reads the ring.
pub fn first_thread_time(pid: u32) -> Result<Duration, LiveError> {
    run_time(Path::new(&format!("/proc/{pid}/task/{pid}")))
}

fn run_time(thread: &Path) -> Result<Duration, LiveError> {
    let path = thread.join("schedstat");
    let text = fs::read_to_string(&path).map_err(LiveError::io("reading", &path))?;
    let run = text.split(' ').next().unwrap_or_default().parse();
    Ok(Duration::from_nanos(run.map_err(|why| LiveError::line(&text, &why))?))
}
