//! `lockside install`: the binary in a directory, whole or not at all.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use crate::harness::{Scratch, lockside};

#[tokio::test]
async fn the_binary_is_copied_executable_and_replaces_what_is_there() {
    let scratch = Scratch::new();
    let directory = scratch.path("shared/bin");
    let target = format!("{directory}/lockside");
    let mut inodes = Vec::new();
    for _ in 0..2 {
        let finished = lockside(&["install", &directory]).await;
        assert_eq!((finished.code, finished.output().as_str()), (Some(0), ""));
        let metadata = std::fs::metadata(&target).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o755);
        inodes.push(metadata.ino());
        let ran = Command::new(&target).arg("--version").output().unwrap();
        assert!(String::from_utf8_lossy(&ran.stdout).contains(env!("CARGO_PKG_VERSION")), "{ran:?}");
        let names: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["lockside"], "nothing else is left");
    }
    assert_ne!(inodes[0], inodes[1], "what runs the old one keeps it");
}

#[tokio::test]
async fn where_it_cannot_be_written_nothing_is_left_and_it_is_told() {
    let scratch = Scratch::new();
    let directory = scratch.path("bin");
    std::fs::create_dir_all(format!("{directory}/lockside")).unwrap();
    let file = scratch.file("file", "");
    for (directory, left) in [(directory, Some(1)), (file, None)] {
        let finished = lockside(&["install", &directory]).await;
        assert_eq!(finished.code, Some(1));
        assert!(finished.stderr.contains(&format!("cannot install `{directory}/lockside`: ")), "{}", finished.stderr);
        assert_eq!(std::fs::read_dir(&directory).ok().map(Iterator::count), left, "{directory}");
    }
}
