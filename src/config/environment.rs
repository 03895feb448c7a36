//! The `LOCKSIDE_*` variables that no setting reads: what to say of each at start. Looks at names, never at values.

use std::ffi::OsStr;

use super::Mistake;

/// What every name of ours begins with.
const PREFIX: &str = "LOCKSIDE_";
/// What `exec` sets for its command, which may be another lockside.
const SET_BY_EXEC: [&str; 6] =
    ["LOCKSIDE_KEY", "LOCKSIDE_TOKEN", "LOCKSIDE_VALID_UNTIL", "LOCKSIDE_LEASES", "LOCKSIDE_MODE", "LOCKSIDE_LIMIT"];
/// Longest part of a name that is shown or compared, characters.
const LONGEST: usize = 64;

/// What is to be said of the environment.
#[derive(Debug, Default)]
pub struct Environment {
    /// Variables that must not be there.
    pub mistakes: Vec<Mistake>,
    /// A sentence for each variable that has no effect.
    pub warnings: Vec<String>,
}

impl Environment {
    /// Looks at this process's variables; `settings` are the names of all that any command reads.
    pub fn look(settings: &[String]) -> Environment {
        let mut environment = Environment::default();
        // An empty variable is an unset one.
        for (name, _) in std::env::vars_os().filter(|(_, value)| !value.is_empty()) {
            environment.judge(&name, settings);
        }
        environment
    }

    fn judge(&mut self, name: &OsStr, settings: &[String]) {
        let name = name.to_string_lossy();
        let shown = name.chars().take(LONGEST).collect::<String>().escape_debug().to_string();
        match Verdict::of(&name, settings) {
            Verdict::Fine => {}
            Verdict::LacksFile(setting) => self.mistakes.push(Mistake {
                flag: shown,
                problem: format!("no such setting; write it to a file and set {setting} to the file's path"),
            }),
            Verdict::Unknown(nearest) => self
                .warnings
                .push(format!("the variable `{shown}` is not a setting and has no effect; did you mean {nearest}?")),
        }
    }
}

/// What a variable is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// A setting, or none of our concern.
    Fine,
    /// The setting whose name it would be with `_FILE`: a secret where only a path belongs.
    LacksFile(&'a str),
    /// The setting whose name is nearest.
    Unknown(&'a str),
}

impl<'a> Verdict<'a> {
    pub(super) fn of(name: &str, settings: &'a [String]) -> Verdict<'a> {
        let is_known = SET_BY_EXEC.contains(&name) || settings.iter().any(|setting| setting == name);
        if !name.starts_with(PREFIX) || is_known {
            return Verdict::Fine;
        }
        let name = name.to_uppercase();
        let lacks_file = |setting: &&String| setting.strip_suffix("_FILE") == Some(&name);
        if let Some(setting) = settings.iter().find(lacks_file) {
            return Verdict::LacksFile(setting);
        }
        if is_service_link(&name) {
            return Verdict::Fine;
        }
        let nearest = settings.iter().min_by(|a, b| distance(&name, a).total_cmp(&distance(&name, b)));
        nearest.map_or(Verdict::Fine, |setting| Verdict::Unknown(setting))
    }
}

/// What Kubernetes sets in every pod for a service that is called `lockside`, or `lockside-` and more.
fn is_service_link(name: &str) -> bool {
    let is_port = |rest: &str| {
        let mut words = rest.split('_');
        words.next().is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
            && words.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
            && words.next().is_none_or(|part| matches!(part, "PROTO" | "ADDR"))
            && words.next().is_none()
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.rsplit_once("_PORT_").is_some_and(|(_, rest)| is_port(rest))
}

/// How far apart two names are: letters to insert, delete, replace or swap with their neighbour, as a share of the longer.
fn distance(a: &str, b: &str) -> f64 {
    let [a, b] = [a, b].map(|name| name.chars().skip(PREFIX.len()).take(LONGEST).collect::<String>());
    let longer = a.chars().count().max(b.chars().count()).max(1);
    #[expect(clippy::cast_precision_loss, reason = "at most 64")]
    let share = strsim::osa_distance(&a, &b) as f64 / longer as f64;
    share
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What only the commands read that ask a sidecar.
    const COMMANDS: [&str; 5] =
        ["LOCKSIDE_URL", "LOCKSIDE_TOKEN_FILE", "LOCKSIDE_CA_FILE", "LOCKSIDE_CERT_FILE", "LOCKSIDE_KEY_FILE"];

    /// Every setting of `serve`, and those of the commands that ask a sidecar.
    pub fn settings() -> Vec<String> {
        let serve = <super::super::Flags as clap::Args>::augment_args(clap::Command::new("serve"));
        let names =
            serve.get_arguments().filter_map(|arg| arg.get_env()).map(|name| name.to_string_lossy().into_owned());
        names.chain(COMMANDS.map(str::to_owned)).collect()
    }

    #[test]
    fn a_setting_less_its_file_is_a_mistake_whatever_its_case() {
        let settings = settings();
        let mut count = 0;
        for setting in settings.iter().filter(|it| !SET_BY_EXEC.contains(&it.trim_end_matches("_FILE"))) {
            let Some(name) = setting.strip_suffix("_FILE") else { continue };
            assert_eq!(Verdict::of(name, &settings), Verdict::LacksFile(setting), "{name}");
            let odd = name.replace("LOCKSIDE_", "").to_lowercase();
            assert_eq!(Verdict::of(&format!("LOCKSIDE_{odd}"), &settings), Verdict::LacksFile(setting), "{odd}");
            count += 1;
        }
        assert!(count >= 6, "{count}");
    }

    #[test]
    fn every_other_unknown_name_is_told_with_the_nearest() {
        let settings = settings();
        for (name, nearest) in [
            ("LOCKSIDE_MAXTTL", "LOCKSIDE_MAX_TTL"),
            ("LOCKSIDE_TTL", "LOCKSIDE_MAX_TTL"),
            ("LOCKSIDE_REDIS_ULR", "LOCKSIDE_REDIS_URL"),
            ("LOCKSIDE_REDIS", "LOCKSIDE_REDIS_URL"),
            ("LOCKSIDE_redis_url", "LOCKSIDE_REDIS_URL"),
            ("LOCKSIDE_ULR", "LOCKSIDE_URL"),
            ("LOCKSIDE_LISTENER", "LOCKSIDE_LISTEN"),
            ("LOCKSIDE_ALLOWED_HOST", "LOCKSIDE_ALLOWED_HOSTS"),
            ("LOCKSIDE_API_TOKENFILE", "LOCKSIDE_API_TOKEN_FILE"),
            ("LOCKSIDE_API_TOKEN_FILE_", "LOCKSIDE_API_TOKEN_FILE"),
            ("LOCKSIDE_LOGLEVEL", "LOCKSIDE_LOG_LEVEL"),
            ("LOCKSIDE_MAX_CONECTIONS", "LOCKSIDE_MAX_CONNECTIONS"),
        ] {
            assert_eq!(Verdict::of(name, &settings), Verdict::Unknown(nearest), "{name}");
        }
        for name in ["LOCKSIDE_", "LOCKSIDE_é", &format!("LOCKSIDE_{}", "X".repeat(100_000))] {
            assert!(matches!(Verdict::of(name, &settings), Verdict::Unknown(_)));
        }
    }

    #[test]
    fn settings_what_exec_sets_and_service_links_are_fine() {
        let settings = settings();
        let exec = include_str!("../cli/exec/supervisor.rs");
        let set_by_exec: Vec<&str> =
            exec.split("(\"LOCKSIDE_").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(set_by_exec.len() >= SET_BY_EXEC.len(), "{set_by_exec:?}");
        let links = [
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "PORT",
            "PORT_7420_TCP",
            "PORT_7420_TCP_PROTO",
            "PORT_7420_TCP_PORT",
            "PORT_7420_TCP_ADDR",
            "PORT_53_UDP",
            "PORT_53_SCTP_ADDR",
            "OPS_SERVICE_HOST",
            "OPS_SERVICE_PORT_METRICS_1",
            "OPS_PORT",
            "OPS_PORT_9420_TCP_PORT",
        ];
        for name in set_by_exec.into_iter().chain(links) {
            assert_eq!(Verdict::of(&format!("LOCKSIDE_{name}"), &settings), Verdict::Fine, "{name}");
        }
        for setting in &settings {
            assert_eq!(Verdict::of(setting, &settings), Verdict::Fine);
        }
        assert_eq!(Verdict::of("REDIS_URL", &settings), Verdict::Fine, "not ours");
        for name in ["LOCKSIDE_PORT_X_TCP", "LOCKSIDE_PORT_1_TCP_NAME", "LOCKSIDE_PORT_1", "LOCKSIDE_PORTS"] {
            assert!(matches!(Verdict::of(name, &settings), Verdict::Unknown(_)), "{name}");
        }
    }
}
