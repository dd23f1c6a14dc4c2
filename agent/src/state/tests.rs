use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn leave(folder: &Path) -> (Mark, Vec<Finding>) {
    let (mark, found) = Mark::leave(folder, "everything").unwrap();
    (mark, tell(found))
}

fn tell(found: Vec<Left>) -> Vec<Finding> {
    let findings = found.iter().map(|left| left.finding.clone()).collect();
    found.into_iter().for_each(Left::told);
    findings
}

/// As the kernel does when it is killed: the lock goes, the file stays.
fn kill(mut mark: Mark) -> PathBuf {
    mark.watches();
    mark.path.clone()
}

#[test]
fn a_killed_agent_is_told_of_once_and_a_clean_stop_never() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("state");
    let (first, found) = leave(&folder);
    assert_eq!(found, []);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
    let last = SystemTime::now() - Duration::from_secs(70);
    first.file.set_modified(last).unwrap();
    first.refresh(Duration::from_secs(40));
    let refreshed = first.file.metadata().unwrap().modified().unwrap().duration_since(last).unwrap();
    assert!((Duration::from_secs(30)..Duration::from_secs(40)).contains(&refreshed), "{refreshed:?}");
    first.file.set_modified(last).unwrap();
    kill(first);
    let (second, found) = leave(&folder);
    let [Finding::Unclean { pid, watched, alive: Some(alive), now, is_of_earlier_boot: false }] = &found[..]
    else {
        panic!("{found:?}")
    };
    assert_eq!((*pid, watched.as_str(), *alive), (std::process::id(), "everything", last));
    assert!(now.duration_since(last).unwrap() >= Duration::from_secs(70));
    second.clear();
    let (third, found) = leave(&folder);
    assert_eq!(found, [], "told already, and the second ended well");
    third.clear();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn agents_that_run_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let (first, _) = leave(root.path());
    let (second, found) = leave(root.path());
    assert_eq!(found, []);
    assert_ne!(first.path, second.path);
    let gone = kill(first);
    let (_third, found) = leave(root.path());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(!gone.exists() && second.path.exists());
}

#[test]
fn marks_that_cannot_be_read_are_removed_with_a_word_and_what_is_no_mark_stays() {
    let root = tempfile::tempdir().unwrap();
    let whole = {
        let (mark, _) = leave(root.path());
        let path = kill(mark);
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(path).unwrap();
        text
    };
    let hostile = [
        String::new(),
        whole[..whole.len() / 2].to_owned(),
        whole.replace("\"version\":1", "\"version\":2"),
        whole.replace("everything", &"x".repeat(usize::try_from(MAX_FILE).unwrap())),
        "[".repeat(4_000),
    ];
    for (number, text) in hostile.iter().enumerate() {
        fs::write(root.path().join(format!("agent-{number}.json")), text).unwrap();
    }
    fs::write(root.path().join("notes.txt"), "mine").unwrap();
    symlink(root.path().join("notes.txt"), root.path().join("agent-link.json")).unwrap();
    fs::create_dir(root.path().join("agent-folder.json")).unwrap();
    let (mark, found) = leave(root.path());
    assert_eq!(found.len(), hostile.len(), "{found:?}");
    for finding in &found {
        assert!(matches!(finding, Finding::Unreadable { .. }), "{finding:?}");
    }
    mark.clear();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3, "the text, the link and the folder");
    assert_eq!(fs::read_to_string(root.path().join("notes.txt")).unwrap(), "mine");
}

#[test]
fn of_what_an_agent_watches_so_many_characters_are_kept_and_the_mark_can_be_read_whatever_they_are() {
    let root = tempfile::tempdir().unwrap();
    // A longer form in JSON than this one has none.
    let kept = "\u{1}".repeat(MAX_WATCHED);
    for watched in [kept.clone(), format!("{kept}x")] {
        kill(Mark::leave(root.path(), &watched).unwrap().0);
        let found = tell(Mark::leave(root.path(), "").map(|(mark, found)| (mark.clear(), found)).unwrap().1);
        assert!(matches!(&found[..], [Finding::Unclean { watched, .. }] if *watched == kept), "{found:?}");
    }
}

#[test]
fn a_mark_of_so_many_bytes_is_one_and_a_longer_one_is_none() {
    let root = tempfile::tempdir().unwrap();
    for beyond in [0, 1] {
        let path = kill(leave(root.path()).0);
        let text = fs::read_to_string(&path).unwrap();
        let spaces = usize::try_from(MAX_FILE).unwrap() - text.len() + beyond;
        fs::write(&path, [&text, " ".repeat(spaces).as_str()].concat()).unwrap();
        let (mark, found) = leave(root.path());
        mark.clear();
        assert_eq!(found.len(), 1);
        assert_eq!(matches!(found[0], Finding::Unclean { .. }), beyond == 0, "{found:?}");
    }
}

#[test]
fn so_many_entries_are_looked_at_and_the_others_by_the_next_one() {
    let root = tempfile::tempdir().unwrap();
    let all = MAX_ENTRIES + 10;
    for number in 0..all {
        fs::write(root.path().join(format!("agent-{number}.json")), "").unwrap();
    }
    let (first, found) = leave(root.path());
    // Its own is one of them, if it came early.
    assert!((MAX_ENTRIES - 1..=MAX_ENTRIES).contains(&found.len()), "{}", found.len());
    let (second, rest) = leave(root.path());
    assert_eq!(found.len() + rest.len(), all);
    first.clear();
    second.clear();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn when_it_was_alive_is_unknown_if_the_time_was_set_back_and_so_is_another_boot_told() {
    let content = Content { version: VERSION, pid: 7, boot: "a".into(), started: 0, watched: "shop".into() };
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let found = |modified, boot| match Finding::new(&content, at(modified), at(125), boot) {
        Finding::Unclean { alive, is_of_earlier_boot, .. } => (alive, is_of_earlier_boot),
        unreadable @ Finding::Unreadable { .. } => panic!("{unreadable:?}"),
    };
    assert_eq!(found(60, "a"), (Some(at(60)), false));
    assert_eq!(found(60, "b"), (Some(at(60)), true));
    assert_eq!(found(300, "a"), (None, false));
}

#[test]
fn a_folder_that_cannot_be_had_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Mark::leave(&file.join("below"), ""), Err(StateError::Folder { .. })));
    assert!(matches!(Mark::leave(&file, ""), Err(StateError::File { .. })));
}

#[test]
fn of_several_folders_the_first_that_can_be_used_is_and_all_are_looked_into() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path("file"), "").unwrap();
    let folders = [path("file").join("below"), path("first"), path("second")];
    let (mark, found) = Mark::leave_in_first(&folders[2..], "everything");
    kill(mark.unwrap());
    assert!(found.is_empty(), "{found:?}");
    let (mark, found) = Mark::leave_in_first(&folders, "everything");
    let mark = mark.unwrap();
    assert_eq!((mark.folder(), found.len()), (folders[1].as_path(), 1), "{found:?}");
    let (nowhere, found) = Mark::leave_in_first(&folders[..1], "everything");
    assert!(found.is_empty(), "{found:?}");
    let text = nowhere.unwrap_err().to_string();
    assert!(text.contains("below") && text.contains("Not a directory"), "{text}");
}

#[test]
fn a_folder_that_another_user_could_replace_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let used = |folder: PathBuf| Mark::leave_in_first(&[folder], "").0.map(kill).map(drop);
    let is_foreign = |folder: PathBuf| matches!(used(folder), Err(StateError::Nowhere(reasons)) if matches!(reasons[..], [StateError::Foreign { .. }]));
    // A link that waits for us, as anybody could have put it into /dev/shm.
    fs::create_dir(path("elsewhere")).unwrap();
    symlink(path("elsewhere"), path("link")).unwrap();
    assert!(is_foreign(path("link")));
    assert_eq!(fs::read_dir(path("elsewhere")).unwrap().count(), 0);
    // Others may write into it.
    fs::create_dir(path("open")).unwrap();
    mode(&path("open"), 0o777);
    assert!(is_foreign(path("open")));
    // Others may write beside it, and take away what is ours, or only what is theirs.
    assert!(is_foreign(path("open").join("own")));
    mode(&path("open"), 0o1777);
    used(path("open").join("own")).unwrap();
    // Its owner is another one; that takes root to try.
    if geteuid().is_root() {
        fs::create_dir(path("theirs")).unwrap();
        std::os::unix::fs::chown(path("theirs"), Some(65534), Some(65534)).unwrap();
        assert!(is_foreign(path("theirs")));
        assert!(is_foreign(path("theirs").join("own")));
    }
}
