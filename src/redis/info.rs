//! What Redis says of itself: the lines of `INFO` that tell what its data is worth. Facts only; nothing is judged here.

/// Facts of one server. `None` where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// `7.0.15`, as it is spelled.
    pub version: Option<String>,
    pub role: Option<Role>,
    /// `redis_mode` is `cluster`.
    pub in_cluster: bool,
    /// Connected replicas.
    pub replicas: Option<u64>,
    /// Replicas that keep up, where `min-replicas-to-write` asks for some.
    pub good_replicas: Option<u64>,
    /// What counts against `maxmemory`, bytes.
    pub used_memory: Option<u64>,
    /// `maxmemory`, bytes; 0: no limit.
    pub maxmemory: Option<u64>,
    pub maxmemory_policy: Option<String>,
    /// `appendonly`.
    pub appends: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Master,
    /// Of the master at this address.
    Replica(String),
}

impl Info {
    /// Reads the answer to `INFO`. Whatever it does not understand it leaves out.
    pub fn parse(text: &str) -> Info {
        let mut info = Info::default();
        let (mut role, mut host, mut port) = (None, "", "");
        let mut uncounted = 0;
        for (name, value) in text.lines().filter_map(|line| line.trim_end().split_once(':')) {
            match name {
                "redis_version" => info.version = Some(value.to_owned()),
                "redis_mode" => info.in_cluster = value == "cluster",
                "role" => role = Some(value),
                "master_host" => host = value,
                "master_port" => port = value,
                "connected_slaves" => info.replicas = value.parse().ok(),
                "min_slaves_good_slaves" => info.good_replicas = value.parse().ok(),
                "used_memory" => info.used_memory = value.parse().ok(),
                "mem_not_counted_for_evict" => uncounted = value.parse().unwrap_or(0),
                "maxmemory" => info.maxmemory = value.parse().ok(),
                "maxmemory_policy" => info.maxmemory_policy = Some(value.to_owned()),
                "aof_enabled" => info.appends = Some(value == "1"),
                _ => {}
            }
        }
        info.used_memory = info.used_memory.map(|used: u64| used.saturating_sub(uncounted));
        info.role = match role {
            Some("master") => Some(Role::Master),
            Some("slave") => Some(Role::Replica(format!("{host}:{port}"))),
            _ => None,
        };
        info
    }

    /// The version's first number.
    pub fn major(&self) -> Option<u32> {
        self.version.as_ref()?.split('.').next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_matter_are_read_and_the_others_are_not() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.0.15\r\n\r\nrole:slave\r\nmaster_host:10.0.0.7\r\nmaster_port:6379\r\n\
             connected_slaves:2\r\nmin_slaves_good_slaves:1\r\nused_memory:1000\r\nmem_not_counted_for_evict:200\r\nmaxmemory:1048576\r\nmaxmemory_human:1.00M\r\n\
             maxmemory_policy:allkeys-lru\r\naof_enabled:1\r\naof_rewrites:0\r\n",
        );
        assert_eq!(info.major(), Some(7));
        assert_eq!(info.role, Some(Role::Replica("10.0.0.7:6379".to_owned())));
        assert_eq!((info.replicas, info.good_replicas), (Some(2), Some(1)));
        assert_eq!((info.maxmemory, info.maxmemory_policy.as_deref()), (Some(1_048_576), Some("allkeys-lru")));
        assert_eq!((info.used_memory, info.appends), (Some(800), Some(true)));
    }

    #[test]
    fn what_is_not_said_is_not_guessed() {
        assert_eq!(Info::parse(""), Info::default());
        assert_eq!(Info::parse("role:sentinel\nmaxmemory:x\nredis_version"), Info::default());
        assert_eq!(Info { version: Some("unstable".to_owned()), ..Info::default() }.major(), None);
    }
}
