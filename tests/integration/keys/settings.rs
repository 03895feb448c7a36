//! The flags: what is refused at start, all in one run.

use crate::harness::{Scratch, lockside};

async fn refused(flags: &[&str], expected: &[&str]) {
    let run = lockside(&[&["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"], flags].concat()).await;
    assert_eq!(run.code, Some(64), "{flags:?}: {}", run.stderr);
    for expected in expected {
        assert!(run.stderr.contains(expected), "{flags:?}: {expected}: {}", run.stderr);
    }
}

#[tokio::test]
async fn keys_come_from_one_place() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", crate::harness::jwt::SECRET);
    let pem = scratch.file("pem", crate::harness::jwt::Pair::ed25519().public_pem);
    let url = "http://127.0.0.1:1/keys";
    let set = scratch.file("set", "{\"keys\":[]}");
    refused(
        &["--jwt-secret-file", &secret, "--jwt-public-key-file", &pem, "--jwks-url", url, "--jwks-file", &set],
        &[
            "--jwt-secret-file: given together with --jwt-public-key-file",
            "--jwt-secret-file: given together with --jwks-file",
            "--jwt-secret-file: given together with --jwks-url",
            "--jwks-file: `",
            "holds no usable key",
        ],
    )
    .await;
    refused(&["--jwks-file", &set, "--jwks-url", url], &["--jwks-file: given together with --jwks-url"]).await;
    let long = scratch.file("long", format!("{{\"keys\":[]{}}}", " ".repeat(1024 * 1024)));
    refused(&["--jwks-file", &long], &["is longer than 1048576 bytes"]).await;
    let private = scratch.file(
        "private",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\
        \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}]}",
    );
    refused(&["--jwks-file", &private], &["--jwks-file: `", "holds a private key"]).await;
    refused(&["--jwks-file", "/nowhere/keys"], &["--jwks-file: cannot read `/nowhere/keys`"]).await;
}

#[tokio::test]
async fn a_url_is_https_or_of_loopback() {
    for (url, told) in [
        ("http://10.0.0.1/keys", "http is for loopback only"),
        ("http://issuer.test/keys", "http is for loopback only"),
        ("http://localhost.issuer.test/", "http is for loopback only"),
        ("https://user:hidden@issuer.test/keys", "without a user"),
        ("keys.json", "expected a URL"),
        ("file:///keys.json", "expected"),
    ] {
        refused(&["--jwks-url", url], &["--jwks-url: ", told]).await;
    }
    let run = lockside(&["serve", "--jwks-url", "https://user:hidden@issuer.test/keys"]).await;
    assert!(!run.stderr.contains("hidden"), "{}", run.stderr);
    let ok = "http://127.0.0.1:1/keys";
    let leaky = ["http://u:hidden@issuer.test/", "http://issuer.test/?c=hidden", "https://u:hidden@a:port/", "hidden"];
    for url in leaky {
        let run = lockside(&["serve", "--jwks-url", url]).await;
        assert_eq!(run.code, Some(64), "{url}");
        assert!(run.stderr.contains("--jwks-url: ") && !run.stderr.contains("hidden"), "{}", run.stderr);
    }
    refused(&["--jwks-refresh", "x"], &["--jwks-refresh: `x`"]).await;
    for refresh in ["999ms", "25h", "x"] {
        refused(&["--jwks-url", ok, "--jwks-refresh", refresh], &["--jwks-refresh: "]).await;
    }
    refused(&["--jwks-url", ok, "--jwks-ca-file", "/nowhere/ca"], &["--jwks-ca-file: `/nowhere/ca`"]).await;
    refused(&["--jwks-ca-file", "/nowhere/ca"], &["--jwks-ca-file: given without --jwks-url"]).await;
    refused(&["--jwt-issuer", "x"], &["--jwt-issuer: given without a key", "--jwks-url"]).await;
}

#[tokio::test]
async fn words_and_names_are_checked() {
    for (flag, wrong) in [
        ("--permission", "a b"),
        ("--permission", "a\"b"),
        ("--permission", "a\\b"),
        ("--permission", "\u{e4}"),
        ("--cookie-name", "a b"),
        ("--cookie-name", "a=b"),
        ("--cookie-name", "a\"b"),
        ("--permission-claim", ","),
        ("--permission-claim", "a..b"),
        ("--permission-claim", ".a"),
    ] {
        refused(&[flag, wrong], &[&format!("{flag}: `{wrong}`")]).await;
    }
}
