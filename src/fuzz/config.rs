//! What holds of every Redis URL and of every variable's name.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::RedisServer;
use super::environment::Verdict;
use super::redis_url::{RedisUrl, redis_url as read};
use crate::fuzz::{parts, text};
use crate::secret::Secret;

/// No text of a setting has these two in it.
const SECRET: [&str; 2] = ["hunter2a", "hunter2b"];

/// `url`, `password`: what is read of a URL says the same once it is written again; a password is read whole or the URL
/// is refused, and no error shows a part of it.
pub fn redis_url(data: &[u8]) {
    let [url, password] = parts(data);
    if let Ok(read_once) = read(&text(url)) {
        let written = written(&read_once);
        let read_twice = read(&written).unwrap_or_else(|problem| panic!("{written}: {problem}"));
        assert_eq!(format!("{read_once:?}"), format!("{read_twice:?}"), "{written}");
        assert_eq!(password_of(&read_once), password_of(&read_twice));
    }
    let password = format!("{}{}{}", SECRET[0], text(password), SECRET[1]);
    for (before, after) in [
        ("redis://:", "@host:7000/3"),
        ("rediss://user:", "@[::1]?db=2"),
        ("redis-sentinel://user:", "@a,b:7?master=main"),
        ("redis-cluster://:", "@a,b"),
    ] {
        let encoded = utf8_percent_encode(&password, NON_ALPHANUMERIC);
        let whole = read(&format!("{before}{encoded}{after}")).expect("an encoded password");
        assert_eq!(password_of(&whole), Some(password.as_str()));
        match read(&format!("{before}{password}{after}")) {
            Ok(url) => {
                let decoded = percent_decode_str(&password).decode_utf8().expect("a good URL");
                assert_eq!(password_of(&url).map(str::to_owned), Some(decoded.into_owned()), "{before}{after}");
            }
            Err(problem) => {
                assert!(!SECRET.iter().any(|secret| problem.contains(secret)), "{problem}");
            }
        }
    }
}

fn password_of(url: &RedisUrl) -> Option<&str> {
    url.password.as_ref().map(Secret::expose)
}

/// The URL of what was read.
fn written(url: &RedisUrl) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let scheme = if url.is_tls { "rediss" } else { "redis" };
    let user = url.username.as_deref().map(encoded).unwrap_or_default();
    let credentials = match password_of(url) {
        Some(password) => format!("{user}:{}@", encoded(password)),
        None if user.is_empty() => String::new(),
        None => format!("{user}@"),
    };
    let host = |(host, port): &(String, u16)| {
        assert!(!host.is_empty() && *port > 0);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    };
    let all = |hosts: &[(String, u16)]| hosts.iter().map(host).collect::<Vec<_>>().join(",");
    let database = url.database.map(|number| format!("/{number}")).unwrap_or_default();
    match &url.server {
        RedisServer::Tcp { host: name, port } => {
            format!("{scheme}://{credentials}{}{database}", host(&(name.clone(), *port)))
        }
        RedisServer::Unix { path } => {
            let path = path.to_str().and_then(|path| path.strip_prefix('/')).expect("absolute, and UTF-8");
            let database = url.database.map(|number| format!("?db={number}")).unwrap_or_default();
            format!("redis+unix:///{}{database}", encoded(path))
        }
        RedisServer::Sentinel { hosts, master } => {
            assert!(!master.is_empty());
            format!("{scheme}-sentinel://{credentials}{}{database}?master={}", all(hosts), encoded(master))
        }
        RedisServer::Cluster { hosts } => format!("{scheme}-cluster://{credentials}{}", all(hosts)),
        RedisServer::ClusterNode { .. } => unreachable!("no URL says so"),
    }
}

/// `name`, `place`: a name is a setting's, or one of no concern, or told with a setting that there is; with a setting's
/// letters in another case, or one of them gone, it is never taken for one.
pub fn environment(data: &[u8]) {
    let [name, place] = parts(data);
    let settings: Vec<String> =
        ["API_TOKEN_FILE", "JWT_SECRET_FILE", "LISTEN", "MAX_TTL", "REDIS_URL", "TOKEN_FILE", "URL"]
            .map(|name| format!("LOCKSIDE_{name}"))
            .to_vec();
    let name = text(name);
    for name in [name.clone(), format!("LOCKSIDE_{name}"), format!("LOCKSIDE_{name}_FILE")] {
        match Verdict::of(&name, &settings) {
            Verdict::Fine => {}
            Verdict::LacksFile(setting) => assert_eq!(format!("{}_FILE", name.to_uppercase()), setting),
            Verdict::Unknown(nearest) => {
                assert!(settings.iter().any(|setting| setting == nearest && *setting != name));
            }
        }
        if !name.starts_with("LOCKSIDE_") {
            assert_eq!(Verdict::of(&name, &settings), Verdict::Fine, "not ours");
        }
    }
    let at = place.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    let setting = &settings[at % settings.len()];
    assert_eq!(Verdict::of(setting, &settings), Verdict::Fine);
    let letter = "LOCKSIDE_".len() + at % (setting.len() - "LOCKSIDE_".len());
    let gone = format!("{}{}", &setting[..letter], &setting[letter + 1..]);
    let lower = format!("LOCKSIDE_{}", setting["LOCKSIDE_".len()..].to_lowercase());
    for wrong in [gone, lower] {
        assert_ne!(Verdict::of(&wrong, &settings), Verdict::Fine, "{wrong}");
    }
}
