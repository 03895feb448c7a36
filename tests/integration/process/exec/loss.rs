//! Whatever is killed or frozen: SIGTERM comes first where there is time, and the command is dead before its lock is
//! another's.

use super::*;

const TTL: &str = "2s";
/// Says who it is and that it was told to stop, and does not stop; its child does not even hear.
const STUBBORN: &str = r#"
    sh -c "trap '' TERM; while :; do sleep 0.05; done" & child=$!
    trap 'echo TERM' TERM; echo $$; echo $child; while :; do sleep 0.05; done"#;

/// A command that does not end by itself, under a lock.
struct Stubborn {
    exec: Exec,
    key: String,
    command: u32,
    child: u32,
}

impl Stubborn {
    async fn start(sidecar: &Sidecar) -> Stubborn {
        let key = unique("exec");
        let mut exec = Exec::script(sidecar, &["--ttl", TTL], &key, STUBBORN);
        let (command, child) = (exec.pid().await, exec.pid().await);
        Stubborn { exec, key, command, child }
    }

    fn supervisor(&self) -> u32 {
        parent(self.command)
    }

    fn is_alive(&self) -> bool {
        is_alive(self.command) || is_alive(self.child)
    }

    /// Somebody else at another sidecar gets the lock, and nobody is left by then.
    async fn assert_dead_before(&self, sidecar: &Sidecar) -> Answer {
        let granted = wait_for(sidecar, &self.key).await;
        assert!(!self.is_alive(), "the command outlived its lock");
        granted
    }

    async fn assert_ends_lost(self, says: &str) {
        let ended = self.exec.end().await;
        assert_eq!(ended.code, Some(76), "{ended:?}");
        assert!(ended.stdout.contains("TERM"), "SIGTERM came before SIGKILL: {ended:?}");
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_killed_sidecar_stops_the_command_before_the_lease_ends() {
    let (mine, other) = tokio::join!(sidecar(), sidecar());
    let stubborn = Stubborn::start(&mine).await;
    mine.signal("KILL");
    stubborn.assert_dead_before(&other).await;
    stubborn.assert_ends_lost("the connection to the sidecar was lost").await;
}

#[tokio::test]
async fn a_frozen_sidecar_stops_the_command_before_the_lease_ends() {
    let (mine, other) = tokio::join!(sidecar(), sidecar());
    let stubborn = Stubborn::start(&mine).await;
    mine.signal("STOP");
    stubborn.assert_dead_before(&other).await;
    stubborn.assert_ends_lost("cannot renew").await;
}

#[tokio::test]
async fn a_redis_that_is_away_stops_the_command_before_the_lease_ends() {
    let redis = TestRedis::start(&[]);
    let mine = Sidecar::start(&redis, &[]).await;
    let stubborn = Stubborn::start(&mine).await;
    redis.signal("STOP");
    // Without Redis nobody can have the lock: it is its time that counts.
    eventually("the command is dead", Duration::from_secs(2), async || !stubborn.is_alive()).await;
    redis.signal("CONT");
    stubborn.assert_ends_lost("").await;
}

#[tokio::test]
async fn a_lock_taken_by_force_stops_the_command_a_second_after_the_sidecar_knows() {
    let mine = sidecar().await;
    let stubborn = Stubborn::start(&mine).await;
    let path = format!("/v1/locks/{}?force=true", stubborn.key);
    assert_eq!(mine.call("DELETE", &path).send().await.status, 204);
    // The sidecar learns of it by the next renewal, a third of the ttl later.
    let bound = Duration::from_millis(700 + 1000 + 500);
    eventually("the command is dead", bound, async || !stubborn.is_alive()).await;
    stubborn.assert_ends_lost("forced").await;
}

#[tokio::test]
async fn a_draining_sidecar_stops_the_command_before_it_lets_go() {
    let (mut mine, other) = tokio::join!(Sidecar::start(TestRedis::shared(), &["--shutdown-grace", "2s"]), sidecar());
    let stubborn = Stubborn::start(&mine).await;
    mine.signal("TERM");
    stubborn.assert_dead_before(&other).await;
    stubborn.assert_ends_lost("stopping the command").await;
    mine.exit_code(PATIENCE).await;
}

#[tokio::test]
async fn a_killed_front_takes_the_command_with_it_before_the_lock_is_free() {
    let mine = sidecar().await;
    let mut stubborn = Stubborn::start(&mine).await;
    signal("KILL", stubborn.exec.id());
    assert_eq!(stubborn.exec.line().await, "TERM");
    stubborn.assert_dead_before(&mine).await;
}

#[tokio::test]
async fn a_frozen_front_does_not_keep_the_command_alive() {
    let (mine, other) = tokio::join!(sidecar(), sidecar());
    let stubborn = Stubborn::start(&mine).await;
    signal("STOP", stubborn.exec.id());
    mine.signal("KILL");
    stubborn.assert_dead_before(&other).await;
    signal("CONT", stubborn.exec.id());
    stubborn.assert_ends_lost("the connection to the sidecar was lost").await;
}

#[tokio::test]
async fn a_killed_supervisor_takes_the_command_with_it_before_the_lock_is_free() {
    let mine = sidecar().await;
    let stubborn = Stubborn::start(&mine).await;
    signal("KILL", stubborn.supervisor());
    stubborn.assert_dead_before(&mine).await;
    let ended = stubborn.exec.end().await;
    assert_eq!(ended.code, Some(76));
    assert!(ended.stderr.contains("supervisor"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_frozen_supervisor_is_woken() {
    let (mine, other) = tokio::join!(sidecar(), sidecar());
    let stubborn = Stubborn::start(&mine).await;
    signal("STOP", stubborn.supervisor());
    mine.signal("KILL");
    stubborn.assert_dead_before(&other).await;
    stubborn.assert_ends_lost("the connection to the sidecar was lost").await;
}

#[tokio::test]
async fn a_command_that_outlasts_many_renewals_is_left_alone() {
    let mine = sidecar().await;
    let key = unique("exec");
    let ended = exec(&mine, &["--ttl", "1s", &key, "--", "sh", "-c", "sleep 3; echo done"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "done\n"), "{}", ended.stderr);
}
