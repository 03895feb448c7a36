//! `lockside acl`: the user of one namespace does everything there, and touches nothing else.

use serde_json::json;

use super::user::{ACL, admin, crowd, hold, leases, native, refused, sweep, waiting, watching};
use super::{GOOD, warnings};
use crate::harness::{Scratch, Sidecar, TestRedis, jwt, lockside, unique};

const PASSWORD: &str = "a password of the tests";

/// The line that is printed.
async fn line(args: &[&str]) -> String {
    let finished = lockside(&[&["acl"], args].concat()).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    finished.stdout.trim_end().to_owned()
}

#[tokio::test]
async fn the_shipped_user_is_the_one_of_the_default_namespace() {
    let scratch = Scratch::new();
    let printed = line(&["--key-prefix", "lockside", "--password-file", &scratch.file("password", "x\n")]).await;
    let words = |line: &str| {
        line.split_whitespace().filter(|word| !word.starts_with(['#', '>'])).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(words(&printed), words(ACL));
    let hash = "#2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    assert!(printed.starts_with(&format!("user lockside reset on {hash} ")), "{printed}");
}

#[tokio::test]
async fn the_user_of_a_namespace_does_everything_there_and_touches_nothing_else() {
    for (prefix, others) in [
        ("team-red", ["team-blue", "team-red:1", "team"]),
        // Characters that a pattern would read as its own.
        ("team*[ab]?^\\", ["teamXa1^\\", "team*a?^\\", "team*[ab]x^"]),
    ] {
        let scratch = Scratch::new();
        let password = scratch.file("password", PASSWORD);
        let line = line(&["--key-prefix", prefix, "--user", "red", "--password-file", &password]).await;
        assert!(!line.contains(PASSWORD), "{line}");
        let file = scratch.file("users.acl", format!("user default on nopass ~* &* +@all\n{line}\n"));
        let redis = TestRedis::start(&[&GOOD[..], &["--aclfile", &file]].concat());
        for user in ["alice", "bob", "carol"] {
            let users = format!("{prefix}:users");
            redis.ask::<u64>("HSET", &[&users, user, r#"{"label":"L","active":true}"#]);
        }
        let secret = scratch.file("secret", jwt::SECRET);
        let flags = ["--redis-username", "red", "--redis-password-file", &password, "--key-prefix", prefix];
        let flags = [&flags[..], &["--jwt-secret-file", &secret, "--user-directory"]].concat();
        let (first, second) = (Sidecar::start(&redis, &flags).await, Sidecar::start(&redis, &flags).await);

        admin(&first).await;
        leases(&first).await;
        native(&first).await;
        watching(&first).await;
        waiting(&first, &second).await;
        hold(&second).await;
        crowd(&first).await;
        sweep(&first).await;

        assert_eq!(warnings(&first).await, Vec::<String>::new(), "{}", first.log());
        assert_eq!(refused(&redis), Vec::<String>::new());
        let may = |command: &[&str]| {
            let said: String = redis.ask("ACL", &[&["DRYRUN", "red"][..], command].concat());
            said == "OK"
        };
        for space in [prefix].iter().chain(&others) {
            let is_own = *space == prefix;
            for key in
                ["{P:0}:lock:a", "{P:63}:tokens", "{P:7}:queue:a", "{P:17}:forced:a", "{P:17}:watch", "{P:raw}:mark"]
            {
                let key = key.replace('P', space);
                assert_eq!((may(&["SET", &key, ""]), may(&["GET", &key])), (is_own, is_own), "{key}");
            }
            for channel in ["P:push:0:all", "P:push:0123456789abcdef-1", "{P:7}:push:all"] {
                let channel = channel.replace('P', space);
                let said = (may(&["SSUBSCRIBE", &channel]), may(&["SPUBLISH", &channel, ""]));
                assert_eq!(said, (is_own, is_own), "{channel}");
            }
            let users = format!("{space}:users");
            assert_eq!((may(&["HGET", &users, "alice"]), may(&["DEL", &users])), (is_own, false), "{users}");
        }
        for command in
            [&["KEYS", "*"][..], &["FLUSHALL"], &["CONFIG", "GET", "*"], &["ACL", "LIST"], &["PUBLISH", "x", "y"]]
        {
            assert!(!may(command), "{command:?}");
        }
        // A sidecar of another namespace is refused as this user.
        let other = [&flags[..4], &["--key-prefix", others[0]]].concat();
        let other = Sidecar::spawn(
            &[&["--redis-url", &redis.url()], &other[..]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>(),
        );
        let answer = other.call("POST", &format!("/v1/locks/{}", unique("other"))).json(&json!({})).send().await;
        assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("redis-refused")), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_user_without_a_password_is_off_and_what_is_invalid_is_told() {
    let printed = line(&["--key-prefix", "red"]).await;
    assert!(printed.starts_with("user red reset off ") && !printed.contains('#'), "{printed}");
    let printed = line(&["--key-prefix", "default", "--user", "default"]).await;
    assert!(printed.starts_with("user default reset off "), "{printed}");
    let scratch = Scratch::new();
    for (args, expected) in [
        (vec!["--key-prefix", "a b"], "--user: `a b`; expected a name without spaces"),
        (
            vec!["--key-prefix", "team red", "--user", "red"],
            "--key-prefix: `team red`; expected a prefix without spaces",
        ),
        (vec!["--key-prefix", "team\"red", "--user", "red"], "--key-prefix: `team\"red`; expected a prefix without"),
        (
            vec!["--key-prefix", "team'red", "--user", "red"],
            "--key-prefix: `team'red`; expected a prefix without spaces",
        ),
        (vec!["--key-prefix", "a:push:b"], "--key-prefix: `a:push:b`; expected a prefix without `:push:`"),
        (vec!["--key-prefix", "a", "--user", "a b"], "--user: `a b`; expected a name without spaces"),
        (vec!["--key-prefix", "default"], "--user: the line of the user `default` restricts all clients"),
        (vec!["--key-prefix", "{a}"], "--key-prefix: expected 1 to 64 bytes without `{`, `}`"),
        (vec!["--key-prefix", "a", "--password-file", "/no/such/file"], "--password-file: "),
        (vec!["--key-prefix", "a", "--password-file", &scratch.file("empty", "\n")], "--password-file: "),
    ] {
        let finished = lockside(&[&["acl"], &args[..]].concat()).await;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(64), ""), "{args:?}");
        assert!(finished.stderr.contains(expected), "{args:?}: {}", finished.stderr);
    }
}
