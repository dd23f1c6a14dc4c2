//! What happens in traps, by the kernel's own statistics.

use std::fs;
use std::time::{Duration, Instant};

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use lightfoot_tests::live::{Agent, slowness, wait_for};

/// So long nothing may come before what has come is taken for all, and so often it is looked at: a machine that stands still for
/// a while does so for whoever would come, too.
const QUIET: Duration = Duration::from_millis(300);
const LOOKS: u32 = 40;

/// How often the agent's programs ran for what `work` does. On arm64 those are left out that come of a stack check that has failed at
/// a site, which are counted; on x86-64 there are none.
pub(crate) fn runs_of(agent: &Agent, work: impl FnOnce()) -> u64 {
    let failed = || agent.counts().unwrap().get("stack_checks_failed").copied().unwrap_or(0);
    let _statistics = enable_stats(Stats::RunTime).unwrap();
    let (before, failed_before) = (settled(agent), failed());
    work();
    let (runs, failed) = (settled(agent) - before, failed() - failed_before);
    if cfg!(target_arch = "aarch64") {
        println!("{failed} stack checks have failed at a site");
    } else {
        assert_eq!(failed, 0);
    }
    runs - failed
}

/// The agent's run count once it does not change any more: a server notices a moment later that a connection has ended.
fn settled(agent: &Agent) -> u64 {
    let mut last = (run_count(agent), Instant::now());
    let mut looks = 0;
    wait_for("its last run", || {
        let now = run_count(agent);
        looks += 1;
        if now != last.0 {
            last = (now, Instant::now());
            looks = 0;
        }
        (looks >= LOOKS && last.1.elapsed() > QUIET * slowness()).then_some(now)
    })
    .unwrap()
}

/// The run count of what this agent has loaded; others may run on this machine.
fn run_count(agent: &Agent) -> u64 {
    let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", agent.pid())).unwrap();
    let mut ids: Vec<u32> = descriptors
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok()))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let mine = |program: &aya::programs::ProgramInfo| {
        ids.contains(&program.id()) && program.name_as_str().is_some_and(|name| name.starts_with("on_site"))
    };
    let counts: Vec<_> =
        loaded_programs().filter_map(Result::ok).filter(mine).map(|info| info.run_count()).collect();
    assert!(!counts.is_empty(), "programs {ids:?}");
    counts.iter().sum()
}
