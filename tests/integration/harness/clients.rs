//! Other people's clients, as they are published: `make clients` installs them.

use std::process::Command;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients");

/// Runs a script of `tests/integration/` with Node.js and what `tests/clients/package.json` lists, to its end.
/// Panics where it fails; returns what it printed.
pub async fn node(script: &str, args: &[&str]) -> String {
    let mut command = Command::new(format!("{CLIENTS}/python/bin/node"));
    command.env("NODE_PATH", format!("{CLIENTS}/node_modules"));
    run(command, script, args).await
}

async fn run(mut command: Command, script: &str, args: &[&str]) -> String {
    command.arg(format!("{}/tests/integration/{script}", env!("CARGO_MANIFEST_DIR"))).args(args);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it runs to its end");
    let output = output.expect("the clients are installed; run `make clients`");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}
