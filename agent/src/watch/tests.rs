use super::*;

fn file(inode: u64) -> FileIdentity {
    FileIdentity { device: 1, inode, size: 1, modified: (0, 0) }
}

#[test]
fn so_many_files_are_remembered_and_then_those_that_nothing_is_done_about_are_forgotten() {
    let mut binaries = HashMap::new();
    let suspended = Some(Instant::now());
    for inode in 1..=MAX_REMEMBERED as u64 {
        remember(&mut binaries, file(inode), Err(WatchError::Analysis));
    }
    assert_eq!(binaries.len(), MAX_REMEMBERED);
    binaries.get_mut(&file(7)).unwrap().suspended = suspended;
    remember(&mut binaries, file(0), Err(WatchError::Analysis));
    assert_eq!(binaries.keys().copied().collect::<HashSet<_>>(), [file(0), file(7)].into());
    assert_eq!(binaries[&file(7)].suspended, suspended);
}

#[test]
fn of_so_many_files_that_are_all_suspended_the_one_whose_suspension_ends_first_is_forgotten() {
    let mut binaries = HashMap::new();
    let now = Instant::now();
    for inode in 0..MAX_REMEMBERED as u64 {
        remember(&mut binaries, file(inode), Err(WatchError::Analysis));
        let until = now + Duration::from_secs(if inode == 7 { 1 } else { 2 });
        binaries.get_mut(&file(inode)).unwrap().suspended = Some(until);
    }
    let next = file(MAX_REMEMBERED as u64);
    remember(&mut binaries, next, Err(WatchError::Analysis));
    assert_eq!(binaries.len(), MAX_REMEMBERED);
    assert!(binaries.contains_key(&next) && !binaries.contains_key(&file(7)));
}
