//! Files of secrets on a mount that nothing can be written to, as that of a Kubernetes Secret.

use std::process::Command;

/// Reads a file with mode 0444 on a mount of its own; what is said of it.
fn said_of_a_file(options: &str) -> String {
    let script = format!(
        "set -e; mount -t tmpfs none /mnt; echo password >/mnt/password; chmod 0444 /mnt/password; mount -o \
         remount,{options} /mnt; exec \"$0\" acl --key-prefix team --password-file /mnt/password"
    );
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script, env!("CARGO_BIN_EXE_lockside")])
        .output()
        .expect("unshare starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_readable_file_is_warned_of_but_for_one_on_a_read_only_mount() {
    assert!(said_of_a_file("rw").contains("every user of this machine may read `/mnt/password`"));
    assert_eq!(said_of_a_file("ro"), "");
}
