//! Listeners: several of them, each by its own rules; whose port and whose socket it is; who may connect.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::harness::{Scratch, Sidecar, TestRedis, Wire, eventually, free_port, jwt, lockside, lockside_with, unique};

const LIST: &str = "/v1/locks?limit=1";

/// The status of a GET with this `Host`.
fn get(address: &str, path: &str, host: &str) -> u16 {
    Wire::new(address).ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
}

fn all(addresses: &str) -> Vec<&str> {
    addresses.split(',').collect()
}

/// A `lockside serve` on the shared Redis with these arguments, and none that the harness adds.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockside"));
    command.args(["serve", "--log-format=json", "--redis-url", &TestRedis::shared().url()]).args(args);
    command.args(["--key-prefix", &unique("listeners")]);
    command
}

#[tokio::test]
async fn every_listener_that_is_named_serves_by_flags_and_by_variables() {
    let scratch = Scratch::new();
    let sockets = ["a", "b"].map(|name| format!("unix:{}", scratch.path(name)));
    let by_flags = command(&[
        "--listen=127.0.0.1:0",
        "--listen",
        "[::1]:0",
        &format!("--listen={},127.0.0.1:0", sockets[0]),
        "--ops-listen=127.0.0.1:0",
        "--ops-listen=[::1]:0",
        "--threads=2",
    ]);
    let mut by_variables = command(&[]);
    by_variables.env("LOCKSIDE_LISTEN", format!("127.0.0.1:0, [::1]:0,{},127.0.0.1:0", sockets[1]));
    by_variables.env("LOCKSIDE_OPS_LISTEN", "127.0.0.1:0,[::1]:0,");
    for command in [by_flags, by_variables] {
        let sidecar = Sidecar::of(command);
        let (api, ops) = (all(sidecar.api_address()), all(sidecar.ops_address()));
        assert_eq!((api.len(), ops.len()), (4, 2), "{api:?} {ops:?}");
        eventually("ready", Duration::from_secs(10), async || get(ops[0], "/readyz", "x") == 200).await;
        for address in api {
            assert_eq!(get(address, LIST, "localhost"), 200, "{address}");
        }
        assert_eq!(get(ops[1], "/readyz", "x"), 200);
        let first = lockside_with(&["health", "--ready"], &[("LOCKSIDE_OPS_LISTEN", sidecar.ops_address())]).await;
        assert_eq!(first.code, Some(0), "the command line asks the first: {}", first.stderr);
    }
}

#[tokio::test]
async fn a_flag_takes_the_place_of_all_addresses_of_its_variable() {
    let mut command = command(&["--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"]);
    command.env("LOCKSIDE_LISTEN", "0.0.0.0:0,127.0.0.1:0");
    let sidecar = Sidecar::of(command);
    assert!(!sidecar.api_address().contains(','), "{}", sidecar.api_address());
}

#[tokio::test]
async fn both_families_share_a_port_and_an_address_twice_is_a_mistake() {
    let port = free_port();
    let (v4, v6) = (format!("--ops-listen=0.0.0.0:{port}"), format!("--ops-listen=[::]:{port}"));
    for [first, second] in [[&v4, &v6], [&v6, &v4]] {
        let sidecar = Sidecar::of(command(&["--listen=127.0.0.1:0", first, second]));
        for address in ["127.0.0.1", "[::1]"] {
            assert_eq!(get(&format!("{address}:{port}"), "/healthz", "x"), 200, "{address}");
        }
        drop(sidecar);
    }
    // Alone, `[::]` is both families, as ever.
    let _sidecar = Sidecar::of(command(&["--listen=127.0.0.1:0", &v6]));
    assert_eq!(get(&format!("127.0.0.1:{port}"), "/healthz", "x"), 200);
    let run = lockside(&["serve", "--listen=127.0.0.1:7", "--listen=127.0.0.1:7", "--threads=0"]).await;
    assert!(run.stderr.contains("lockside: --listen: `127.0.0.1:7` is given twice"), "{}", run.stderr);
}

#[tokio::test]
async fn a_star_is_both_families_of_the_ops_listener_and_of_no_other() {
    let port = free_port();
    let star = format!("*:{port}");
    let mut by_variable = command(&["--listen=127.0.0.1:0"]);
    by_variable.env("LOCKSIDE_OPS_LISTEN", &star);
    for command in [command(&["--listen=127.0.0.1:0", "--ops-listen", &star]), by_variable] {
        let sidecar = Sidecar::of(command);
        assert_eq!(all(sidecar.ops_address()), [format!("0.0.0.0:{port}"), format!("[::]:{port}")]);
        for address in ["127.0.0.1", "[::1]"] {
            assert_eq!(get(&format!("{address}:{port}"), "/healthz", "x"), 200, "{address}");
        }
        let health = lockside_with(&["health"], &[("LOCKSIDE_OPS_LISTEN", &star)]).await;
        assert_eq!(health.code, Some(0), "{}", health.stderr);
    }
    for (args, said) in [
        (["--ops-listen=*:0", ""], "--ops-listen: `*:0`; expected *: and a port, 1 to 65535, such as *:9420"),
        (["--ops-listen=*:+80", ""], "--ops-listen: `*:+80`; expected *: and a port"),
        (["--ops-listen=*:", ""], "--ops-listen: `*:`; expected *: and a port"),
        (["--ops-listen=*:7,[::]:7", ""], "--ops-listen: `[::]:7` is given twice"),
        (["--ops-listen=tls:*:7", ""], "--ops-listen: `tls:*:7`; expected ip:port"),
        (["--listen=*:7", "--ops-listen=127.0.0.1:0"], "--listen: `*:7`; expected ip:port"),
    ] {
        let args: Vec<&str> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
        let run = lockside(&[&["serve"], &args[..]].concat()).await;
        assert_eq!((run.code, run.stderr.lines().count()), (Some(64), 1), "{}", run.stderr);
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
}

#[tokio::test]
async fn each_listener_has_the_rules_of_its_own_address() {
    let scratch = Scratch::new();
    let secret = scratch.file("secret", jwt::SECRET);
    let socket = format!("--listen=unix:{}", scratch.path("api"));
    let listen = ["--listen=127.0.0.1:0", &socket, "--listen=0.0.0.0:0", "--ops-listen=127.0.0.1:0"];
    let run = lockside(&[&["serve"], &listen[..]].concat()).await;
    assert_eq!((run.code, run.stderr.lines().count()), (Some(64), 1), "{}", run.stderr);
    assert!(run.stderr.contains("`0.0.0.0:0`") && run.stderr.contains("--insecure"), "{}", run.stderr);

    let sidecar = Sidecar::of(command(&[&listen[..], &["--jwt-secret-file", &secret]].concat()));
    let api = all(sidecar.api_address());
    for (address, host, status) in [
        (api[0], "localhost", 200),
        (api[0], "evil.test", 403),
        (api[1], "localhost", 200),
        (api[1], "evil.test", 200),
        // Nobody is served there without a credential, whatever the others do.
        (api[2], "localhost", 401),
        (api[2], "evil.test", 401),
    ] {
        let address = address.replace("0.0.0.0", "127.0.0.1");
        assert_eq!(get(&address, LIST, host), status, "{address} {host}");
    }
}

#[tokio::test]
async fn allowed_hosts_count_on_every_listener_beside_its_own_addresses() {
    let scratch = Scratch::new();
    let socket = format!("--listen=unix:{}", scratch.path("api"));
    let flags = ["--listen=127.0.0.1:0", &socket, "--listen=0.0.0.0:0", "--listen=127.0.0.2:0"];
    let hosts = "--allowed-hosts=Locks.Test,10.9.8.7,2001:DB8::1";
    let more = ["--ops-listen=127.0.0.1:0", "--insecure", hosts];
    let sidecar = Sidecar::of(command(&[&flags[..], &more].concat()));
    for address in all(sidecar.api_address()) {
        let address = address.replace("0.0.0.0", "127.0.0.1");
        for (host, status) in [
            ("locks.test", 200),
            ("LOCKS.test:80", 200),
            ("10.9.8.7", 200),
            ("[2001:db8:0::1]:7420", 200),
            // Its own.
            ("localhost", 200),
            ("127.0.0.1:7420", 200),
            ("127.0.0.2", 200),
            ("evil.test", 403),
            ("a.locks.test", 403),
            ("10.9.8.8", 403),
            ("224.0.0.1", 403),
            ("0.0.0.0", 403),
            ("[2001:db8::2]", 403),
        ] {
            assert_eq!(get(&address, LIST, host), status, "{address} {host}");
        }
    }
    let open = Sidecar::of(command(&["--listen=0.0.0.0:0", "--ops-listen=127.0.0.1:0", "--insecure"]));
    assert_eq!(get(&open.api_address().replace("0.0.0.0", "127.0.0.1"), LIST, "evil.test"), 200, "unset");
}

#[tokio::test]
async fn a_second_sidecar_on_a_port_is_refused_whatever_their_threads() {
    for (first, second) in [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2"), ("4", "3")] {
        let sidecar = Sidecar::spawn(&["--threads".to_owned(), first.to_owned()]);
        for (flag, address, other) in
            [("--listen", sidecar.api_address(), "--ops-listen"), ("--ops-listen", sidecar.ops_address(), "--listen")]
        {
            let run = lockside(&["serve", "--threads", second, flag, address, other, "127.0.0.1:0"]).await;
            assert_eq!(run.code, Some(1), "{first} {second}: {}", run.stderr);
            assert!(run.stderr.contains(flag) && run.stderr.contains(address), "{}", run.stderr);
        }
        // Nor does any other process share it.
        let foreign = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        foreign.set_reuse_address(true).unwrap();
        foreign.set_reuse_port(true).unwrap();
        let address: std::net::SocketAddr = sidecar.api_address().parse().unwrap();
        assert!(foreign.bind(&address.into()).is_err(), "{first} threads");
    }
}

/// How many descriptors each of a process's epoll instances watches: one instance a thread, and none twice.
fn watched(sidecar: &Sidecar) -> Vec<usize> {
    let folder = format!("/proc/{}/fdinfo", sidecar.pid());
    let infos =
        std::fs::read_dir(folder).unwrap().filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok());
    let watched = infos.filter(|info| info.contains("tfd:")).map(|info| {
        let mut lines: Vec<&str> = info.lines().filter(|line| line.starts_with("tfd:")).collect();
        lines.sort_unstable();
        lines.join("\n")
    });
    let instances: std::collections::BTreeSet<String> = watched.collect();
    instances.iter().map(|lines| lines.lines().count()).collect()
}

#[tokio::test]
async fn threads_share_the_connections_of_a_burst() {
    let sidecar = Sidecar::start(TestRedis::shared(), &["--threads=4"]).await;
    eventually("ready", Duration::from_secs(10), async || sidecar.ops("/readyz").await.status == 200).await;
    let before = watched(&sidecar).iter().sum::<usize>();
    let address: std::net::SocketAddr = sidecar.api_address().parse().unwrap();
    let burst: Vec<Socket> = (0..200)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        })
        .collect();
    let taken = || watched(&sidecar).iter().sum::<usize>().saturating_sub(before);
    eventually("all are accepted", Duration::from_secs(10), async || taken() >= burst.len()).await;
    let most = watched(&sidecar).into_iter().max().unwrap();
    assert!(most < burst.len() / 2, "one thread has {most} of {}: {:?}", burst.len(), watched(&sidecar));
}

#[tokio::test]
async fn only_a_socket_that_refuses_connections_is_replaced() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.path(name);
    scratch.file("file", "x");
    std::fs::create_dir(path("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    drop(UnixListener::bind(path("stale")).unwrap());
    drop(UnixDatagram::bind(path("stale-datagram")).unwrap());
    std::os::unix::fs::symlink(path("stale"), path("link")).unwrap();
    std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
    let _listening = UnixListener::bind(path("listening")).unwrap();
    let _datagram = UnixDatagram::bind(path("datagram")).unwrap();
    let socket = |name: &str, kind: Type, backlog: i32| {
        let socket = Socket::new(Domain::UNIX, kind, None).unwrap();
        socket.bind(&SockAddr::unix(path(name)).unwrap()).unwrap();
        socket.listen(backlog).unwrap();
        socket
    };
    let _packets = socket("packets", Type::SEQPACKET, 1);
    // Nobody accepts, and there is no room for one more.
    let _full = socket("full", Type::STREAM, 0);
    let mut waiting = Vec::new();
    loop {
        let one = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        one.set_nonblocking(true).unwrap();
        if one.connect(&SockAddr::unix(path("full")).unwrap()).is_err() {
            break;
        }
        waiting.push(one);
    }
    for (name, what) in [
        ("file", "a file stands there"),
        ("directory", "a directory stands there"),
        ("fifo", "a FIFO stands there"),
        ("link", "a symbolic link stands there"),
        ("dangling", "a symbolic link stands there"),
        ("listening", "a process listens there"),
        ("full", "a process listens there"),
        ("datagram", "a socket of another kind"),
        ("packets", "a socket of another kind"),
    ] {
        let before = Path::new(&path(name)).symlink_metadata().unwrap().ino();
        for (flag, other) in [("--listen", "--ops-listen"), ("--ops-listen", "--listen")] {
            let begun = Instant::now();
            let address = format!("unix:{}", path(name));
            let run = lockside(&["serve", flag, &address, other, "127.0.0.1:0"]).await;
            assert_eq!(run.code, Some(1), "{name}: {}", run.stderr);
            assert!(run.stderr.contains(what) && run.stderr.contains(&address), "{name}: {}", run.stderr);
            assert!(begun.elapsed() < Duration::from_secs(3), "{name}: {:?}", begun.elapsed());
        }
        assert_eq!(Path::new(&path(name)).symlink_metadata().unwrap().ino(), before, "{name} is as it was");
    }
    assert_eq!(std::fs::read_to_string(path("file")).unwrap(), "x");
    for name in ["stale", "stale-datagram"] {
        let sidecar = Sidecar::spawn(&["--listen".to_owned(), format!("unix:{}", path(name))]);
        assert_eq!(get(sidecar.api_address(), "/openapi.json", "localhost"), 200, "{name}");
    }
}

#[tokio::test]
async fn a_stopping_sidecar_removes_its_own_socket_and_not_its_successors() {
    let scratch = Scratch::new();
    let socket = scratch.path("api");
    let start = |threads: &str| {
        Sidecar::spawn(&["--listen".to_owned(), format!("unix:{socket}"), "--threads".to_owned(), threads.to_owned()])
    };
    for threads in ["1", "3"] {
        let mut first = start(threads);
        std::fs::remove_file(&socket).unwrap();
        let mut second = start(threads);
        let inode = std::fs::metadata(&socket).unwrap().ino();
        first.signal("TERM");
        assert_eq!(first.exit_code(Duration::from_secs(10)).await, Some(0));
        assert_eq!(std::fs::metadata(&socket).unwrap().ino(), inode);
        assert_eq!(get(second.api_address(), "/openapi.json", "localhost"), 200);
        second.signal("TERM");
        assert_eq!(second.exit_code(Duration::from_secs(10)).await, Some(0));
        assert!(!Path::new(&socket).exists());
    }
}

#[tokio::test]
async fn a_sockets_mode_and_group_are_those_asked_for_whatever_the_umask() {
    let scratch = Scratch::new();
    let text = |output: std::process::Output| String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let own = text(Command::new("id").arg("-g").output().unwrap());
    let own_name = text(Command::new("id").arg("-gn").output().unwrap());
    for (umask, flags, mode) in [
        ("000", vec![], 0o660),
        ("022", vec![], 0o660),
        ("077", vec![], 0o660),
        ("000", vec!["--listen-mode=0600".to_owned()], 0o600),
        ("077", vec!["--listen-mode=0o666".to_owned(), format!("--listen-group={own}")], 0o666),
        ("022", vec!["--listen-mode=620".to_owned(), format!("--listen-group={own_name}")], 0o620),
    ] {
        let (api, ops) = (scratch.path("api"), scratch.path("ops"));
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("umask {umask}; exec \"$@\""), "bash", env!("CARGO_BIN_EXE_lockside"), "serve"]);
        shell.args(["--log-format=json", "--redis-url", &TestRedis::shared().url(), "--listen=127.0.0.1:0"]);
        shell.args([format!("--listen=unix:{api}"), format!("--ops-listen=unix:{ops}")]).args(&flags);
        let _sidecar = Sidecar::of(shell);
        for socket in [api, ops] {
            let found = std::fs::metadata(&socket).unwrap();
            assert!(found.file_type().is_socket());
            assert_eq!(found.permissions().mode() & 0o7777, mode, "umask {umask} {flags:?}");
            assert_eq!(found.gid().to_string(), own);
            std::fs::remove_file(&socket).unwrap();
        }
    }
    let socket = format!("--listen=unix:{}", scratch.path("other"));
    for (flags, says) in [
        (&[&socket, "--listen-mode=rw"][..], "--listen-mode: `rw`; expected three octal digits"),
        (&[&socket, "--listen-mode=6666"], "--listen-mode: `6666`"),
        (&[&socket, "--listen-mode=7"], "--listen-mode: `7`"),
        (&[&socket, "--listen-group=no such group"], "--listen-group: no group `no such group` in /etc/group"),
        (&[&socket, "--listen-group=99999999999"], "--listen-group: `99999999999`"),
        (&["--listen-mode=0600"], "--listen-mode: given, but no listener is a unix socket"),
        (&["--listen-group=0"], "--listen-group: given, but no listener is a unix socket"),
    ] {
        let run = lockside(&[&["serve"], flags].concat()).await;
        assert_eq!(run.code, Some(64), "{flags:?}: {}", run.stderr);
        assert!(run.stderr.contains(says), "{flags:?}: {}", run.stderr);
    }
}
