//! Listeners: addresses, hosts, and what must be set beyond loopback.

use super::*;
use crate::auth::ApiTokens;

#[test]
fn allowed_hosts_are_names_and_addresses_and_nothing_else() {
    let hosts = |text: &str| {
        let config = Config::resolve(&flags(&[&format!("--allowed-hosts={text}")]));
        config.map(|config| config.listen.allowed_hosts)
    };
    let good = "Locks.Test, my_app,10.0.0.1,::1,[2001:DB8:0:0::1],xn--bcher-kva.test";
    let expected = ["locks.test", "my_app", "10.0.0.1", "[::1]", "[2001:db8::1]", "xn--bcher-kva.test"];
    assert_eq!(hosts(good).ok().as_deref(), Some(&expected.map(str::to_owned)[..]));
    for bad in [
        "evil.test:7420",
        "10.0.0.1:80",
        "[::1]:80",
        "*",
        "*.evil.test",
        "http://evil.test",
        "//evil.test",
        "evil.test/",
        "evil.test.",
        ".evil.test",
        "evil..test",
        "-evil.test",
        "me@evil.test",
        "evil test",
        "bücher.test",
        "10.0.0.256",
        "10.0.0.0/8",
        "[10.0.0.1]",
        "unix:/x",
        "\"evil.test\"",
        ",",
    ] {
        let all = mistakes(&[&format!("--allowed-hosts={bad}")]);
        assert!(
            all.len() == 1 && all[0].contains("--allowed-hosts: `") && all[0].contains("expected a host name"),
            "{bad}: {all:?}"
        );
    }
}

#[test]
fn a_url_whose_host_name_is_not_ascii_is_refused_and_its_other_form_is_told() {
    for flag in ["--jwks-url", "--elect-while", "--docs-url"] {
        let resolved = |host: &str| {
            let url = format!("{flag}=https://{host}/x");
            Config::resolve(&flags(&["--elect=a", &url])).map_err(|mistakes| format!("{mistakes:?}"))
        };
        assert!(resolved("xn--bcher-kva.test").is_ok(), "{flag}");
        let problem = resolved("bücher.test").expect_err("not ASCII");
        assert!(problem.contains(flag) && problem.contains("ASCII (xn--"), "{problem}");
    }
}

#[test]
fn a_star_of_the_ops_listener_is_both_families_of_which_one_may_be_missing() {
    let shown = |addresses: &[Address]| addresses.iter().map(Address::to_string).collect::<Vec<_>>();
    let config = Config::resolve(&flags(&["--ops-listen=unix:/s,*:1"])).expect("addresses");
    assert_eq!(shown(&config.listen.ops), ["unix:/s", "0.0.0.0:1", "[::]:1"]);
    assert_eq!(shown(&config.listen.ops_of_any_family), ["0.0.0.0:1", "[::]:1"]);
    let config = Config::resolve(&flags(&["--ops-listen=0.0.0.0:1,[::]:1"])).expect("addresses");
    assert_eq!(shown(&config.listen.ops_of_any_family), [""; 0], "what is asked for by its address is to be there");
}

#[test]
fn a_listener_beyond_loopback_needs_authentication_or_says_insecure() {
    let all = mistakes(&["--listen=0.0.0.0:7420"]);
    assert!(all[0].contains("--insecure"), "{all:?}");
    assert!(Config::resolve(&flags(&["--listen=0.0.0.0:7420", "--insecure"])).is_ok());
    assert!(Config::resolve(&flags(&["--listen=unix:/run/lockside.sock"])).is_ok());
    assert!(Config::resolve(&flags(&["--listen=[::1]:7420"])).is_ok());
    let all = mistakes(&["--listen=127.0.0.1:1,10.0.0.1:1", "--listen=unix:/s", "--listen=[::]:1"]);
    assert!(all.len() == 2 && all[0].contains("`10.0.0.1:1`") && all[1].contains("`[::]:1`"), "{all:?}");
    let all = mistakes(&["--dapr-grpc-listen=127.0.0.1:1,10.0.0.1:1"]);
    assert!(all.len() == 1 && all[0].contains("--dapr-grpc-listen: `10.0.0.1:1`"), "{all:?}");
    let all = mistakes(&["--listen=0.0.0.0:1", "--user-directory=perhaps"]);
    assert_eq!(all.len(), 2, "both are told: {all:?}");
}

#[test]
fn one_question_decides_who_is_served_without_a_credential() {
    let anywhere: Address = "0.0.0.0:7420".parse().expect("an address");
    let here: Address = "unix:/run/lockside.sock".parse().expect("an address");
    let levels = |config: &Config| [&here, &anywhere].map(|listener| config.anonymous(listener));
    let open = Config::resolve(&flags(&[])).expect("good");
    assert_eq!((open.auth.has_credential(), levels(&open)), (false, [Anonymous::Full, Anonymous::None]));
    let insecure = Config::resolve(&flags(&["--insecure"])).expect("good");
    assert_eq!(levels(&insecure), [Anonymous::Full; 2]);
    let asked = Config::resolve(&flags(&["--anonymous=lock"])).expect("good");
    assert_eq!(levels(&asked), [Anonymous::Lock, Anonymous::None]);
    let mut guarded = insecure;
    guarded.auth.api_tokens = ApiTokens::new(Some(Reloaded::fixed(Secret::new("x"))), None);
    assert_eq!((guarded.auth.has_credential(), levels(&guarded)), (true, [Anonymous::None; 2]));
}

#[test]
fn each_listener_has_the_level_of_its_own_address() {
    let file = std::env::temp_dir().join(format!("lockside-config-anonymous-{}", std::process::id()));
    std::fs::write(&file, [b'x'; 32]).expect("a scratch file");
    let key = format!("--jwt-secret-file={}", file.display());
    let listeners = "--listen=127.0.0.1:1,unix:/s,10.0.0.1:1";
    let notes = |args: &[&str]| {
        let mut notes = Config::resolve(&flags(args)).expect("good").notes;
        notes.retain(|note| note.contains("without credentials"));
        notes
    };
    let told = notes(&[&key, listeners]);
    assert_eq!(told.len(), 3, "{told:?}");
    for (note, (listener, level)) in
        told.iter().zip([("127.0.0.1:1", "lock"), ("unix:/s", "lock"), ("10.0.0.1:1", "none")])
    {
        let fits = note.contains(&format!("`{listener}`")) && note.contains(&format!("--anonymous {level}"));
        assert!(fits, "{note}");
    }
    assert_eq!(notes(&[&key, listeners, "--anonymous=none"]).len(), 1);
    assert_eq!(notes(&[&key, listeners, "--anonymous=full", "--insecure"]).len(), 1);
    let all = mistakes(&[&key, listeners, "--anonymous=full"]);
    assert!(all.len() == 1 && all[0].starts_with("--anonymous: ") && all[0].contains("`10.0.0.1:1`"), "{all:?}");
    let _ = std::fs::remove_file(&file);
}
