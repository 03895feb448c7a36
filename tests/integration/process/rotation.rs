//! Rotated secrets count without a restart; unfit ones leave the last good one in use.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::harness::{Scratch, Sidecar, TestRedis, eventually, jwt, unique};

/// How long a rotation may take on a busy machine; a second is what it takes on an idle one.
const SOON: Duration = Duration::from_secs(10);

/// A volume of secrets as Kubernetes swaps it: the file is a link into `..data`, and that is a link to a directory.
struct Volume(Scratch);

impl Volume {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Volume {
        let volume = Volume(Scratch::new());
        volume.swap(name, content);
        symlink(format!("..data/{name}"), volume.path(name)).unwrap();
        volume
    }

    fn swap(&self, name: &str, content: impl AsRef<[u8]>) {
        let generation = unique("..generation");
        std::fs::create_dir(self.0.path(&generation)).unwrap();
        self.0.file(&format!("{generation}/{name}"), content);
        symlink(&generation, self.0.path("..data_tmp")).unwrap();
        std::fs::rename(self.0.path("..data_tmp"), self.0.path("..data")).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path(name)
    }
}

fn hs256(secret: &[u8]) -> String {
    jwt::sign(&jwt::editor_claims("alice"), Algorithm::HS256, &EncodingKey::from_secret(secret))
}

/// The status of a list on a connection of its own, so that each thread is asked in time.
async fn status(sidecar: &Sidecar, token: &str) -> u16 {
    sidecar.call("GET", "/v1/locks?limit=1").bearer(token).header("connection", "close").send().await.status
}

/// Until twenty connections in a row got the same answers: 200 for the one token, 401 for the other.
async fn counts(sidecar: &Sidecar, good: &str, bad: &str) {
    let took = eventually("the rotated file counts on every thread", SOON, async || {
        for _ in 0..20 {
            if status(sidecar, good).await != 200 || status(sidecar, bad).await != 401 {
                return false;
            }
        }
        true
    })
    .await;
    println!("a rotated file counted after {took:?}");
}

async fn unfit(sidecar: &Sidecar, flag: &str, value: u8) {
    let line = format!("lockside_secret_file_unfit{{flag=\"{flag}\"}} {value}");
    eventually(&line, SOON, async || sidecar.ops("/metrics").await.text().contains(&line)).await;
}

#[tokio::test]
async fn a_rotated_jwt_secret_counts_on_every_thread_and_an_unfit_one_does_not() {
    let (first, second) = ([b"first ".repeat(6), b"\xff\xfe".to_vec()].concat(), b"second".repeat(6));
    let volume = Volume::new("jwt", &first);
    let flags = ["--threads=3", "--jwt-secret-file", &volume.path("jwt")];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let (old, new) = (hs256(&first), hs256(&second));
    counts(&sidecar, &old, &new).await;
    unfit(&sidecar, "jwt-secret-file", 0).await;

    volume.swap("jwt", &second);
    counts(&sidecar, &new, &old).await;
    for bad in ["", jwt::Pair::ed25519().public_pem.as_str()] {
        let told = sidecar.log().matches("keeping the previous one").count();
        volume.swap("jwt", bad);
        eventually("told", SOON, async || sidecar.log().matches("keeping the previous one").count() > told).await;
        unfit(&sidecar, "jwt-secret-file", 1).await;
        counts(&sidecar, &new, &old).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(sidecar.log().matches("keeping the previous one").count(), told + 1, "once: {}", sidecar.log());
    }
    std::fs::remove_file(volume.path("jwt")).unwrap();
    eventually("told", SOON, async || sidecar.log().contains("cannot read")).await;
    counts(&sidecar, &new, &old).await;

    symlink("..data/jwt", volume.path("jwt")).unwrap();
    volume.swap("jwt", &first);
    counts(&sidecar, &old, &new).await;
    unfit(&sidecar, "jwt-secret-file", 0).await;
}

#[tokio::test]
async fn a_public_key_may_be_followed_by_one_of_another_type() {
    let (rsa, ed) = (jwt::Pair::rsa(), jwt::Pair::ed25519());
    let scratch = Scratch::new();
    let file = scratch.file("public.pem", &rsa.public_pem);
    let flags = ["--jwt-public-key-file", &file, "--jwt-issuer=us"];
    let sidecar = Sidecar::start(TestRedis::shared(), &flags).await;
    let mut claims = jwt::editor_claims("alice");
    claims["iss"] = json!("us");
    let sign = |claims: &Value, algorithm, pair: &jwt::Pair| jwt::sign(claims, algorithm, &pair.private);
    let (old, new) = (sign(&claims, Algorithm::RS256, &rsa), sign(&claims, Algorithm::EdDSA, &ed));
    counts(&sidecar, &old, &new).await;
    scratch.file("public.pem", &ed.public_pem);
    counts(&sidecar, &new, &old).await;
    let of_another = sign(&jwt::editor_claims("alice"), Algorithm::EdDSA, &ed);
    assert_eq!(status(&sidecar, &of_another).await, 401, "the issuer is still checked");
}

#[tokio::test]
async fn a_rotated_api_token_counts_and_the_old_one_does_no_more() {
    let scratch = Scratch::new();
    let file = scratch.file("token", "first-token\n");
    let sidecar = Sidecar::start(TestRedis::shared(), &["--threads=2", "--api-token-file", &file]).await;
    counts(&sidecar, "first-token", "second-token").await;
    let next = scratch.file("next", "second-token");
    std::fs::rename(next, &file).unwrap();
    counts(&sidecar, "second-token", "first-token").await;
    scratch.file("token", "third token\nof two lines");
    unfit(&sidecar, "api-token-file", 1).await;
    counts(&sidecar, "second-token", "first-token").await;
    assert!(!sidecar.log().contains("-token\""), "{}", sidecar.log());
}

#[tokio::test]
async fn a_rotated_redis_password_opens_the_next_connection() {
    let redis = TestRedis::start(&[]);
    let admin = "hunter2-of-the-admin";
    redis.ask::<()>("ACL", &["SETUSER", "keeper", "on", &format!(">{admin}"), "~*", "&*", "+@all"]);
    redis.ask::<()>("ACL", &["SETUSER", "lockside", "on", ">first", "~*", "&*", "+@all"]);
    let volume = Volume::new("password", "first");
    let path = volume.path("password");
    let flags = ["--threads=2", "--redis-username=lockside", "--redis-password-file", &path];
    let sidecar = Sidecar::start(&redis, &flags).await;
    // Long enough that a busy machine's grant is still worth something when it arrives.
    let acquire = async || {
        let body = json!({"ttlMs": 500, "waitMs": 10_000});
        let call = sidecar.call("POST", "/v1/locks/rotated").header("connection", "close");
        call.json(&body).send().await.status
    };
    assert_eq!((acquire().await, acquire().await), (201, 201), "a waiter has made its listener, too");

    volume.swap("password", "second");
    redis.ask::<()>("ACL", &["SETUSER", "lockside", "resetpass", ">second"]);
    eventually("the new password was read", SOON, async || sidecar.log().contains("secret reloaded")).await;
    for kind in ["normal", "pubsub"] {
        redis.ask::<i64>("CLIENT", &["KILL", "TYPE", kind, "SKIPME", "yes"]);
    }
    let took = eventually("every thread is connected again", SOON, async || {
        sidecar.ops("/readyz").await.status == 200 && acquire().await == 201
    })
    .await;
    println!("connected with the new password after {took:?}");
    assert_eq!((acquire().await, acquire().await), (201, 201), "waiters are heard again");
    assert!(!sidecar.log().contains("WRONGPASS"), "{}", sidecar.log());
}

#[tokio::test]
async fn what_start_warns_of_or_refuses_a_rotation_warns_of_or_refuses() {
    let scratch = Scratch::new();
    let file = scratch.file("secret", jwt::SECRET);
    let mode = |mode: u32| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o600);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-secret-file", &file]).await;
    let warnings = |word: &str| {
        let log = sidecar.log();
        log.lines().filter(|line| line.contains("WARN") && line.contains(word)).count()
    };
    let (may_change, is_short) = ("may change", "shorter than 32 bytes");
    assert_eq!((warnings(may_change), warnings(is_short)), (0, 0), "{}", sidecar.log());

    scratch.file("secret", "x");
    eventually("a short one is told", SOON, async || warnings(is_short) == 1).await;
    counts(&sidecar, &hs256(b"x"), &hs256(jwt::SECRET.as_bytes())).await;
    mode(0o666);
    eventually("the mode is told", SOON, async || warnings(may_change) == 1).await;
    scratch.file("secret", jwt::SECRET);
    eventually("the mode is told again", SOON, async || warnings(may_change) == 2).await;
    counts(&sidecar, &hs256(jwt::SECRET.as_bytes()), &hs256(b"x")).await;
    assert_eq!(warnings(is_short), 1);

    let der = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".iter().chain(&[7; 32]).copied().collect::<Vec<u8>>();
    for unfit in [&b""[..], b"{\"keys\":[]}", b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAgCq", &der] {
        let told = || sidecar.log().matches("keeping the previous one").count();
        let before = told();
        scratch.file("secret", unfit);
        eventually("it is refused", SOON, async || told() > before).await;
        counts(&sidecar, &hs256(jwt::SECRET.as_bytes()), &hs256(unfit)).await;
    }
}

#[tokio::test]
async fn a_file_that_is_being_written_counts_once_it_is_whole() {
    let scratch = Scratch::new();
    let file = scratch.file("secret", jwt::SECRET);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--jwt-secret-file", &file]).await;
    let next = "fedcba9876543210fedcba9876543210";
    // A piece at a time, faster than two looks: no part of it ever counts.
    for end in (1..=next.len()).step_by(3).chain([next.len()]) {
        std::fs::write(&file, &next[..end]).unwrap();
        assert_eq!(status(&sidecar, &hs256(&next.as_bytes()[..end - 1])).await, 401, "{end}");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    counts(&sidecar, &hs256(next.as_bytes()), &hs256(jwt::SECRET.as_bytes())).await;
    assert!(!sidecar.log().contains("shorter than"), "no part counted: {}", sidecar.log());
}

#[tokio::test]
async fn a_hang_up_has_the_files_looked_at_and_no_signal_of_users_ends_a_sidecar() {
    let (first, second) = ("a-first-token-of-32-bytes-or-more", "a-second-token-of-32-bytes-or-more");
    let volume = Volume::new("token", first);
    let sidecar = Sidecar::start(TestRedis::shared(), &["--api-token-file", &volume.path("token")]).await;
    for name in ["USR1", "USR2", "HUP"] {
        sidecar.signal(name);
    }
    eventually("it is told", SOON, async || sidecar.log().contains("looking at the files of secrets")).await;
    volume.swap("token", second);
    sidecar.signal("HUP");
    eventually("the second counts", SOON, async || status(&sidecar, second).await == 200).await;
    assert_eq!(status(&sidecar, first).await, 401);
}
