//! `lockside dev`: everything on this machine. A private redis-server, a JWT key, and ten lines of commands to try.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::serve::{self, HangUp};
use super::{complain, exit, parse, say};
use crate::config::{Address, Config, Environment, Flags, ListenFlags, Mistake, ProcessFlags};
use crate::log;

/// How long the cookie that is printed is good for.
const COOKIE_LIFE: Duration = Duration::from_secs(12 * 3600);
/// How long redis-server may take to come up.
const REDIS_START: Duration = Duration::from_secs(5);

#[derive(Args, Clone, Debug)]
pub struct DevFlags {
    #[command(flatten)]
    listen: ListenFlags,
    #[command(flatten)]
    process: ProcessFlags,
}

pub fn run(flags: &DevFlags) -> ExitCode {
    match start(flags) {
        Ok(code) => code,
        Err(problem) => {
            complain(problem);
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

fn start(flags: &DevFlags) -> Result<ExitCode, String> {
    let home = Home::make().map_err(|error| format!("cannot make a directory: {error}"))?;
    let secret = random_secret();
    let secret_file = home.path("jwt-secret");
    write_private(&secret_file, &secret)
        .map_err(|error| format!("cannot write `{}`: {error}", secret_file.display()))?;
    let config = config(flags, &home, &secret_file)?;
    log::start(config.process.log);
    let Environment { mistakes, warnings } = Environment::look(&parse::variables());
    for warning in mistakes.iter().map(Mistake::to_string).chain(warnings) {
        tracing::warn!("{warning}");
    }
    let _redis = PrivateRedis::start(&home)?;
    let cookie = cookie(&secret);
    let program = std::env::args().next().unwrap_or_else(|| "lockside".to_owned());
    Ok(serve::run_until_signal(config, HangUp::Ends, |listen| {
        // A listener with TLS needs certificates, which the lines to try do not name.
        let plain = listen.api.iter().find(|address| !matches!(address, Address::Tls(_)));
        let api = plain.unwrap_or(&listen.api[0]).to_string();
        let (ops, env) = (listen.ops[0].to_string(), home.path("env"));
        match write_private(&env, &environment(&api, &cookie)) {
            Ok(()) => welcome(&api, &ops, &env, &program),
            Err(error) => complain(format!("cannot write `{}`: {error}", env.display())),
        }
    }))
}

fn config(flags: &DevFlags, home: &Home, secret_file: &Path) -> Result<Config, String> {
    let mut all = Flags { listen: flags.listen.clone(), process: flags.process.clone(), ..defaults() };
    all.redis.redis_url = format!("redis+unix://{}", home.path("redis.sock").display());
    all.auth.jwt_secret_file = Some(secret_file.display().to_string());
    Config::resolve(&all)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nlockside: "))
}

/// The defaults of `serve`, whatever the environment says: a try-out uses nothing of a production setting.
fn defaults() -> Flags {
    use clap::Parser;
    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        flags: Flags,
    }
    let command = <Defaults as clap::CommandFactory>::command().mut_args(|arg| arg.env(None::<&str>));
    let matches = command.get_matches_from(["lockside"]);
    <Defaults as clap::FromArgMatches>::from_arg_matches(&matches).expect("the defaults parse").flags
}

/// Ten lines: what runs, and what to try.
fn welcome(api: &str, ops: &str, env: &Path, program: &str) {
    let (curl, url, page) = match api.strip_prefix("unix:") {
        Some(path) => (format!("curl -sS --unix-socket {path}"), "http://localhost", String::new()),
        None => ("curl -sS".to_owned(), "$LOCKSIDE_URL", format!("   page http://{api}/ui/")),
    };
    let env = env.display();
    say(format!(
        "\
lockside dev: for local use only. Redis is private to this process; all state is lost on exit. Ctrl-C ends it.
API {api}{page}   metrics and health {ops} (/metrics /healthz /readyz)

In another terminal: LOCKSIDE_URL, and COOKIE of the user `dev`, who may manage locks
  . {env}
  {program} exec nightly-report -- sh -c 'echo \"fencing token $LOCKSIDE_TOKEN\"'
  {curl} -X POST {url}/v1/locks/orders -d '{{\"ttlMs\":60000,\"owner\":\"web-1\"}}'
  {curl} -X POST {url}/admin/lock -b \"$COOKIE\" -d '{{\"route\":\"volume\",\"id\":\"1234\"}}'
  {program} ls
  python3 -c 'import lockside; l = lockside.lock(\"photos\"); l.acquire(); print(l.token)'  # pip install ./clients/python"
    ));
}

/// What the lines of [`welcome`] need, for a shell to read.
fn environment(api: &str, cookie: &str) -> String {
    let url = match api.strip_prefix("tls:") {
        Some(address) => format!("https://{address}"),
        None if api.starts_with("unix:") => api.to_owned(),
        None => format!("http://{api}"),
    };
    format!("export LOCKSIDE_URL='{url}' COOKIE='refreshToken={cookie}'\n")
}

fn random_secret() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cookie(secret: &str) -> String {
    let expires = jiff::Timestamp::now().as_second() + COOKIE_LIFE.as_secs() as i64;
    let claims = json!({"sub": "dev", "name": "Developer", "permissions": ["manage-locks"], "exp": expires});
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::default(), &claims, &key).expect("HS256 signs any JSON")
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use io::Write;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// A directory that no other user can read, gone with the process.
struct Home(PathBuf);

impl Home {
    fn make() -> io::Result<Home> {
        let path = std::env::temp_dir().join(format!("lockside-dev-{}", &random_secret()[..12]));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Home(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A redis-server on a unix socket, gone with the process. It persists, since lockside would warn of one that does not.
struct PrivateRedis(Child);

impl PrivateRedis {
    fn start(home: &Home) -> Result<PrivateRedis, String> {
        let socket = home.path("redis.sock");
        let mut command = server_command();
        command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--loglevel", "warning"]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(&home.0);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut redis = PrivateRedis(child.map_err(|error| {
            format!("cannot start redis-server: {error}; install it, on Debian with `apt-get install redis-server`")
        })?);
        let deadline = Instant::now() + REDIS_START;
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            if let Ok(Some(status)) = redis.0.try_wait() {
                return Err(format!(
                    "redis-server ended at once ({status}); install it, on Debian with `apt-get install redis-server`"
                ));
            }
            if Instant::now() > deadline {
                return Err(format!("redis-server did not come up within {} s", REDIS_START.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(redis)
    }
}

/// In a process group of its own, so that Ctrl-C ends lockside first; and, where util-linux has it, tied to our life by
/// the kernel, so that it does not outlive a kill -9.
fn server_command() -> Command {
    use std::os::unix::process::CommandExt;
    let has_setpriv = Command::new("setpriv").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let mut command = if has_setpriv.is_ok_and(|status| status.success()) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server"]);
        command
    } else {
        Command::new("redis-server")
    };
    command.process_group(0);
    command
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
