//! A file that is rotated, and lines that cannot be written: each is there once, or counted.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use super::{SOON, Trail, lines, lost};
use crate::harness::{Scratch, Sidecar, TestRedis, eventually, lockside, unique, until};

async fn start(audit: &str, flags: &[&str]) -> Sidecar {
    let prefix = unique("audit");
    let own = ["--audit", audit, "--key-prefix", &prefix];
    Sidecar::start(TestRedis::shared(), &[&own, flags].concat()).await
}

/// Acquires so many locks, each of which is granted.
async fn grant(sidecar: &Sidecar, count: usize) -> Vec<u64> {
    let granted = join_all((0..count).map(async |_| {
        let answer = sidecar.call("POST", &format!("/v1/locks/{}", unique("k"))).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["token"].as_u64().unwrap()
    }));
    granted.await
}

/// The tokens that were granted, by the lines.
fn granted(lines: &[Value]) -> Vec<u64> {
    let lines = lines.iter().filter(|line| line["event"] == "granted");
    let mut tokens: Vec<u64> = lines.map(|line| line["token"].as_u64().unwrap()).collect();
    tokens.sort_unstable();
    tokens
}

#[tokio::test]
async fn a_file_that_is_rotated_loses_no_line_and_doubles_none() {
    let trail = Trail::new();
    let sidecar = start(&trail.path, &["--threads", "2"]).await;
    let mode = std::fs::metadata(&trail.path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & !0o640, 0, "{mode:o}");
    let (mut tokens, mut rotated) = (Vec::new(), Vec::new());
    for round in 0..4 {
        let (before, during) = tokio::join!(grant(&sidecar, 20), async {
            let to = format!("{}.{round}", trail.path);
            std::fs::rename(&trail.path, &to).unwrap();
            rotated.push(to);
            if round % 2 == 0 {
                sidecar.signal("HUP");
            }
            grant(&sidecar, 20).await
        });
        tokens.extend(before.into_iter().chain(during));
        // By itself within a second where it is not told.
        eventually("it is opened again", SOON, async || std::fs::metadata(&trail.path).is_ok()).await;
    }
    tokens.sort_unstable();
    let all = || {
        let texts = rotated.iter().chain([&trail.path]).map(|path| std::fs::read_to_string(path).unwrap());
        texts.flat_map(|text| lines(&text)).collect::<Vec<Value>>()
    };
    eventually("all are written", SOON, async || all().len() >= tokens.len()).await;
    assert_eq!(granted(&all()), tokens);
    assert_eq!(lost(&sidecar).await, 0);
    let open = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", sidecar.pid())).unwrap();
        let files = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        files.filter(|file| file.to_string_lossy().starts_with(&trail.path)).collect::<Vec<_>>()
    };
    eventually("no rotated file stays open", SOON, async || open() == [Path::new(&trail.path)]).await;
}

#[tokio::test]
async fn a_file_that_is_removed_is_made_again_for_the_next_line() {
    let trail = Trail::new();
    let sidecar = start(&trail.path, &[]).await;
    for _ in 0..20 {
        std::fs::remove_file(&trail.path).unwrap();
        let tokens = grant(&sidecar, 1).await;
        let lines = trail.until("the line", |lines| !lines.is_empty()).await;
        assert_eq!(granted(&lines), tokens);
    }
    assert_eq!(lost(&sidecar).await, 0);
}

#[tokio::test]
async fn what_was_cut_short_in_a_file_that_is_opened_is_a_line_of_its_own() {
    let trail = Trail::new();
    let cut = r#"{"time":"2026-11-28T02:3"#;
    std::fs::write(&trail.path, cut).unwrap();
    let sidecar = start(&trail.path, &[]).await;
    let ends = |text: &str| text.ends_with('\n') && text.contains("granted");
    let text = || std::fs::read_to_string(&trail.path).unwrap_or_default();
    let written = async |sidecar: &Sidecar| {
        let tokens = grant(sidecar, 1).await;
        eventually("the line is written", SOON, async || ends(&text())).await;
        let text = text();
        let (first, rest) = text.split_once('\n').unwrap();
        assert_eq!((first, granted(&lines(rest))), (cut, tokens));
    };
    written(&sidecar).await;
    // Opened again.
    std::fs::rename(&trail.path, format!("{}.1", trail.path)).unwrap();
    std::fs::write(&trail.path, cut).unwrap();
    sidecar.signal("HUP");
    let is_open = async || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", sidecar.pid())).unwrap();
        files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|path| path == Path::new(&trail.path)))
    };
    eventually("it is opened again", SOON, is_open).await;
    written(&sidecar).await;
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_a_mistake_at_start() {
    let scratch = Scratch::new();
    let missing = scratch.path("no/such/folder/audit");
    for (flags, expected) in [
        (["--audit", &missing], format!("--audit: cannot write `{missing}`: No such file or directory")),
        (["--audit", &scratch.path("")], "Is a directory".to_owned()),
        (["--audit-events", "grants"], "--audit-events: `grants`; expected `force,denied`, changes or all".to_owned()),
    ] {
        let finished = lockside(&["serve", flags[0], flags[1], "--max-ttl", "never"]).await;
        assert_eq!(finished.code, Some(64), "{}", finished.stderr);
        assert!(finished.stderr.contains(&expected), "{}", finished.stderr);
        assert!(finished.stderr.contains("--max-ttl"), "all mistakes are told: {}", finished.stderr);
    }
}

#[tokio::test]
async fn a_full_disk_stops_no_request_and_each_line_is_counted() {
    let sidecar = start("/dev/full", &[]).await;

    grant(&sidecar, 30).await;

    eventually("the lines are counted", SOON, async || lost(&sidecar).await == 30).await;
    assert!(sidecar.log().contains("audit lines lost") && sidecar.log().contains("No space left"), "{}", sidecar.log());
}

#[tokio::test]
async fn a_folder_that_goes_away_stops_no_request_and_the_trail_goes_on_when_it_is_back() {
    let scratch = Scratch::new();
    let (folder, path) = (scratch.path("folder"), scratch.path("folder/audit"));
    std::fs::create_dir(&folder).unwrap();
    let sidecar = start(&path, &[]).await;
    std::fs::remove_dir_all(&folder).unwrap();
    let counted = async || {
        grant(&sidecar, 1).await;
        lost(&sidecar).await > 0
    };
    eventually("lines are counted once it is seen", SOON, counted).await;
    std::fs::create_dir(&folder).unwrap();
    let is_written = async || {
        grant(&sidecar, 1).await;
        std::fs::read_to_string(&path).is_ok_and(|text| !lines(&text).is_empty())
    };
    eventually("the trail goes on", SOON, is_written).await;
}

/// A pipe with a reader that does not read until it is told to.
struct Pipe {
    path: String,
    /// Keeps it open.
    reader: std::fs::File,
    _scratch: Scratch,
}

impl Pipe {
    fn new() -> Pipe {
        use std::os::unix::fs::OpenOptionsExt;
        let scratch = Scratch::new();
        let path = scratch.path("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        let reader = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(&path).unwrap();
        Pipe { path, reader, _scratch: scratch }
    }

    fn read(&mut self) -> String {
        use std::io::Read;
        let (mut text, mut chunk) = (Vec::new(), [0; 65536]);
        while let Ok(count @ 1..) = self.reader.read(&mut chunk) {
            text.extend_from_slice(&chunk[..count]);
        }
        String::from_utf8(text).unwrap()
    }
}

#[tokio::test]
async fn a_pipe_that_no_process_reads_stops_no_request_and_each_line_is_read_or_counted() {
    let mut pipe = Pipe::new();
    let scratch = Scratch::new();
    let secret = "an API token of the tests";
    let mut sidecar = start(&pipe.path, &["--api-token-file", &scratch.file("token", secret)]).await;
    let mut asked = 0;
    // The pipe has room for some hundred lines, and the queue for some thousand.
    while lost(&sidecar).await == 0 {
        assert!(asked < 60_000, "no line is lost");
        let refused = (0..250).map(async |_| sidecar.call("GET", "/v1/locks").bearer("another").send().await.status);
        assert!(join_all(refused).await.into_iter().all(|status| status == 401));
        asked += 250;
    }
    let mut tokens = Vec::new();
    for _ in 0..100 {
        let answer = sidecar.call("POST", &format!("/v1/locks/{}", unique("k"))).bearer(secret).send().await;
        assert_eq!(answer.status, 201, "requests go on");
        tokens.push(answer.json()["token"].as_u64().unwrap());
    }
    let lost = lost(&sidecar).await;
    sidecar.signal("TERM");
    let (mut text, lost) = (String::new(), usize::try_from(lost).unwrap());
    until("what was queued is written", || {
        text.push_str(&pipe.read());
        text.matches('\n').count() + lost == asked + tokens.len()
    });
    assert_eq!(sidecar.exit_code(Duration::from_secs(20)).await, Some(0));
    text.push_str(&pipe.read());
    tokens.sort_unstable();
    assert_eq!(granted(&lines(&text)), tokens, "refusals leave room for grants");
    assert_eq!(lines(&text).len() + lost, asked + tokens.len());
}

#[tokio::test]
async fn a_process_that_is_stopped_writes_what_is_queued() {
    for _ in 0..3 {
        let trail = Trail::new();
        let mut sidecar = start(&trail.path, &["--threads", "2"]).await;
        let mut tokens = grant(&sidecar, 200).await;
        sidecar.signal("TERM");
        assert_eq!(sidecar.exit_code(Duration::from_secs(20)).await, Some(0), "{}", sidecar.log());
        tokens.sort_unstable();
        assert_eq!(granted(&trail.lines()), tokens);
    }
}

#[tokio::test]
async fn standard_output_has_the_trail_and_nothing_else() {
    let scratch = Scratch::new();
    let path = scratch.path("stdout");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.args(["serve", "--redis-url", &TestRedis::shared().url(), "--key-prefix", &unique("audit")]);
    command.args(["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--log-format", "json"]);
    command.args(["--audit", "stdout"]).stdout(Stdio::from(std::fs::File::create(&path).unwrap()));
    let mut sidecar = Sidecar::of(command);
    eventually("it is ready", SOON, async || sidecar.ops("/readyz").await.status == 200).await;
    let mut tokens = grant(&sidecar, 5).await;
    sidecar.signal("TERM");
    assert_eq!(sidecar.exit_code(Duration::from_secs(20)).await, Some(0));

    let lines = lines(&std::fs::read_to_string(&path).unwrap());

    tokens.sort_unstable();
    assert_eq!((granted(&lines), lines.len()), (tokens, 5));
    let is_logged = async || sidecar.log().contains("shutdown complete");
    eventually("the log is on standard error", SOON, is_logged).await;
}
