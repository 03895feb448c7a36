//! The command line over TLS.

use super::Stand;
use crate::harness::certificates::Authority;
use crate::harness::{lockside_with, unique};

const JOB: &str = "spiffe://cluster.test/ns/jobs/sa/importer";

/// What a command of its caller finds in its environment.
pub fn files(stand: &Stand, uri: &str) -> Vec<(&'static str, String)> {
    let (certificate, key) = Authority::shared().issue_to(uri);
    vec![
        ("LOCKSIDE_CA_FILE", stand.scratch.file("ca.pem", Authority::shared().pem())),
        ("LOCKSIDE_CERT_FILE", stand.scratch.file("client.crt", certificate)),
        ("LOCKSIDE_KEY_FILE", stand.scratch.file("client.key", key)),
    ]
}

fn url(stand: &Stand) -> String {
    let address = stand.sidecar.api_address().trim_start_matches("tls:");
    format!("https://{}", address.replace("127.0.0.1", "localhost"))
}

#[tokio::test]
async fn every_command_asks_a_sidecar_over_tls_with_a_certificate() {
    let stand = Stand::with_clients(&["--elect", "jobs"]).await;
    let (key, url, files) = (unique("shown"), url(&stand), files(&stand, JOB));
    let mut variables: Vec<(&str, &str)> = files.iter().map(|(name, file)| (*name, file.as_str())).collect();
    variables.push(("LOCKSIDE_URL", &url));
    let held = lockside_with(&["exec", &key, "--", env!("CARGO_BIN_EXE_lockside"), "show", &key], &variables).await;
    assert_eq!(held.code, Some(0), "{}", held.output());
    assert!(held.stdout.contains(&key), "{}", held.output());
    for args in [&["ls"][..], &["show", &key], &["release", "--help"], &["elect", "jobs"]] {
        let run = lockside_with(args, &variables).await;
        assert!(matches!(run.code, Some(0 | 1)), "{args:?}: {}", run.output());
        assert!(!run.output().contains("cannot connect"), "{args:?}: {}", run.output());
    }
}

#[tokio::test]
async fn what_is_wrong_with_tls_is_said_with_what_to_check() {
    let stand = Stand::with_clients(&[]).await;
    let (url, files) = (url(&stand), files(&stand, JOB));
    let [ca, certificate, key] = [0, 1, 2].map(|at| files[at].1.as_str());
    let other = stand.scratch.file("other.pem", Authority::new().pem());
    let address = url.replace("localhost", "127.0.0.1");
    for (flags, code, says) in [
        (vec!["--url", &url, "--ca-file", &other, "--cert-file", certificate, "--key-file", key], 69, "--ca-file"),
        (vec!["--url", &address, "--ca-file", ca, "--cert-file", certificate, "--key-file", key], 69, "--url"),
        (vec!["--url", &url, "--ca-file", ca], 69, "CertificateRequired"),
        (vec!["--url", &url, "--ca-file", ca, "--cert-file", certificate], 64, "--cert-file: given without its key"),
        (vec!["--url", &url, "--ca-file", ca, "--key-file", key], 64, "--key-file: given without its certificate"),
        (vec!["--url", &url, "--ca-file", ca, "--cert-file", certificate, "--key-file", ca], 64, "--key-file: "),
        (vec!["--url", &url, "--ca-file", "/no/such"], 64, "--ca-file: "),
    ] {
        let run = lockside_with(&[&["ls"], &flags[..]].concat(), &[]).await;
        assert_eq!(run.code, Some(code), "{flags:?}: {}", run.output());
        assert!(run.stderr.contains(says), "{flags:?}: {}", run.stderr);
    }
}

#[tokio::test]
async fn files_that_would_not_be_used_are_a_mistake_as_flags_and_none_as_variables() {
    let stand = Stand::with_clients(&["--listen", "127.0.0.1:0,tls:127.0.0.1:0"]).await;
    let plain = format!("http://{}", stand.sidecar.api_address().split(',').next().expect("an address"));
    let files = files(&stand, JOB);
    let variables: Vec<(&str, &str)> = files.iter().map(|(name, file)| (*name, file.as_str())).collect();
    let run = lockside_with(&["ls", "--url", &plain], &variables).await;
    assert_eq!(run.code, Some(0), "{}", run.output());
    for (flag, at) in [("--ca-file", 0), ("--cert-file", 1), ("--key-file", 2)] {
        let run = lockside_with(&["ls", "--url", &plain, flag, &files[at].1], &[]).await;
        assert_eq!(run.code, Some(64), "{flag}: {}", run.output());
        assert!(run.stderr.contains(flag) && run.stderr.contains("https://"), "{flag}: {}", run.stderr);
    }
}

#[tokio::test]
async fn a_command_in_the_container_asks_where_no_certificate_is_needed() {
    let stand = Stand::with_clients(&["--listen", "127.0.0.1:0,tls:127.0.0.1:0"]).await;
    let listen = stand.sidecar.api_address().to_owned();
    let mut addresses: Vec<&str> = listen.split(',').collect();
    assert!(addresses[1].starts_with("tls:"), "{listen}");
    addresses.reverse();
    let run = lockside_with(&["ls"], &[("LOCKSIDE_LISTEN", &addresses.join(","))]).await;
    assert_eq!(run.code, Some(0), "{}", run.output());
}
