//! Going through many at a time: builds two by two, failing with the list of all that failed, and what mostly waits by four.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use crate::extent::Extent;
use crate::go::Build;

/// What [`at_once`] does at a time.
const AT_ONCE: usize = 4;

/// Runs `check` on every build.
///
/// # Panics
/// With every failed build and why, once all were tried; or if there is nothing to try.
pub fn each_build(builds: impl Iterator<Item = Build>, check: impl Fn(&Build, &Path) + Sync) {
    let builds: Vec<_> = builds.collect();
    let of = |half: usize| builds.iter().skip(half).step_by(2).filter_map(|build| failure(build, &check));
    let failed: Vec<String> = thread::scope(|scope| {
        let other = scope.spawn(|| of(1).collect::<Vec<_>>());
        let mut failed: Vec<_> = of(0).collect();
        failed.extend(other.join().unwrap_or_else(|_| vec!["the other half".to_owned()]));
        failed
    });
    assert!(!builds.is_empty(), "there is nothing to try");
    assert!(failed.is_empty(), "{} of {} builds failed:\n{}", failed.len(), builds.len(), failed.join("\n"));
}

/// Runs `check` on each of these, four at a time, for what mostly waits. Where the least is tried it is one after the other: a virtual
/// machine has no room for more.
///
/// # Panics
/// If one of them does, once those that were begun have ended.
pub fn at_once<T: Send>(items: impl IntoIterator<Item = T, IntoIter: Send>, check: impl Fn(T) + Sync) {
    let items = Mutex::new(items.into_iter());
    let next = || items.lock().ok()?.next();
    let worker = || {
        while let Some(item) = next() {
            check(item);
        }
    };
    let workers = if Extent::of_environment() == Extent::Least { 1 } else { AT_ONCE };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(worker);
        }
    });
}

fn failure(build: &Build, check: &(impl Fn(&Build, &Path) + Sync)) -> Option<String> {
    let path = match build.path() {
        Ok(path) => path,
        Err(error) => return Some(format!("{build}: {error}")),
    };
    let panic = catch_unwind(AssertUnwindSafe(|| check(build, &path))).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    Some(format!("{build}: {}", text.unwrap_or_default()))
}
