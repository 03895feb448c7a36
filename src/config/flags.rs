//! The flags as they are typed: texts with their help. What they mean is checked in [`super::Config::resolve`], all in
//! one run, so that every mistake is told at once.

use clap::Args;

/// Everything that `serve` can be told. Each flag `--a-b` is also the environment variable `LOCKSIDE_A_B`; the flag
/// wins, and an empty flag or variable is an unset one. Durations are written `500ms`, `30s`, `5m`, `24h`.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    #[command(flatten)]
    pub redis: RedisFlags,
    #[command(flatten)]
    pub listen: ListenFlags,
    #[command(flatten)]
    pub locks: LockFlags,
    #[command(flatten)]
    pub elections: ElectionFlags,
    #[command(flatten)]
    pub auth: AuthFlags,
    #[command(flatten)]
    pub quotas: QuotaFlags,
    #[command(flatten)]
    pub audit: AuditFlags,
    #[command(flatten)]
    pub process: ProcessFlags,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Redis")]
pub struct RedisFlags {
    /// Where Redis is: redis://[user[:password]@]host[:port][/db], redis+unix:///path/to/socket,
    /// redis-sentinel://host[:port],host[:port][/db]?master=NAME or redis-cluster://host[:port],host[:port], both also
    /// with a user and a password; rediss://, rediss-sentinel:// and rediss-cluster:// are the same over TLS. `?db=N` is
    /// the same as `/N`
    #[arg(
        long,
        env = "LOCKSIDE_REDIS_URL",
        value_name = "URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    pub redis_url: String,

    /// ACL user to authenticate as [default: Redis's own default user]
    #[arg(long, env = "LOCKSIDE_REDIS_USERNAME", value_name = "NAME")]
    pub redis_username: Option<String>,

    /// File with the password; one trailing newline is cut off
    #[arg(long, env = "LOCKSIDE_REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub redis_password_file: Option<String>,

    /// PEM file with the CA certificates for Redis over TLS [default: the system's]
    #[arg(long, env = "LOCKSIDE_REDIS_CA_FILE", value_name = "FILE")]
    pub redis_ca_file: Option<String>,

    /// PEM file with the client certificate, for a Redis and sentinels that ask for one, followed by any intermediate certificates
    #[arg(long, env = "LOCKSIDE_REDIS_CERT_FILE", value_name = "FILE")]
    pub redis_cert_file: Option<String>,

    /// PEM file with the key of --redis-cert-file
    #[arg(long, env = "LOCKSIDE_REDIS_KEY_FILE", value_name = "FILE")]
    pub redis_key_file: Option<String>,

    /// ACL user to authenticate as at the sentinels [default: their own default user]
    #[arg(long, env = "LOCKSIDE_REDIS_SENTINEL_USERNAME", value_name = "NAME")]
    pub redis_sentinel_username: Option<String>,

    /// File with the password for the sentinels; one trailing newline is cut off
    #[arg(long, env = "LOCKSIDE_REDIS_SENTINEL_PASSWORD_FILE", value_name = "FILE")]
    pub redis_sentinel_password_file: Option<String>,

    /// Deadline of one Redis round trip, 10ms to 60s
    #[arg(long, env = "LOCKSIDE_REDIS_TIMEOUT", value_name = "DURATION", default_value = "1s")]
    pub redis_timeout: String,

    /// Replicas that must acknowledge each grant or renewal
    #[arg(long, env = "LOCKSIDE_MIN_REPLICAS", value_name = "N", default_value = "0")]
    pub min_replicas: String,

    /// How long replicas may take for that, 1ms and less than --redis-timeout
    #[arg(long, env = "LOCKSIDE_REPLICA_TIMEOUT", value_name = "DURATION", default_value = "500ms")]
    pub replica_timeout: String,

    /// Maximum concurrent requests to Redis; beyond it 503 with Retry-After
    #[arg(long, env = "LOCKSIDE_MAX_IN_FLIGHT", value_name = "N", default_value = "4096")]
    pub max_in_flight: String,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Listeners")]
pub struct ListenFlags {
    /// API listener: ip:port, tls:ip:port, or unix:/path; may be repeated or comma-separated. Beyond loopback it needs a JWT
    /// key, an API token, --tls-client-ca-file with tls:, or --insecure
    #[arg(long, env = "LOCKSIDE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7420")]
    pub listen: Vec<String>,

    /// Listener of the Dapr API over gRPC, such as 127.0.0.1:50001, or unix:/path; may be repeated or comma-separated. The
    /// rules of --listen hold for it, too, but it has no TLS [default: none]
    #[arg(long, env = "LOCKSIDE_DAPR_GRPC_LISTEN", value_name = "ADDRESS")]
    pub dapr_grpc_listen: Vec<String>,

    /// Metrics and health listener: /metrics, /healthz, /readyz and /leader/NAME, nothing else; may be repeated or comma-separated.
    /// *:PORT is 0.0.0.0 and `[::]`, those that this machine has [default: *:9420]
    #[arg(long, env = "LOCKSIDE_OPS_LISTEN", value_name = "ADDRESS")]
    pub ops_listen: Vec<String>,

    /// PEM file with the certificate of the listeners tls:ip:port, followed by any intermediate certificates
    #[arg(long, env = "LOCKSIDE_TLS_CERT_FILE", value_name = "FILE")]
    pub tls_cert_file: Option<String>,

    /// PEM file with the key of --tls-cert-file
    #[arg(long, env = "LOCKSIDE_TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<String>,

    /// PEM file with the CA certificates for client certificates: the listeners tls:ip:port refuse a client without one, and
    /// its first URI or DNS name NAME makes it the service caller cert:NAME [default: no client certificates]
    #[arg(long, env = "LOCKSIDE_TLS_CLIENT_CA_FILE", value_name = "FILE")]
    pub tls_client_ca_file: Option<String>,

    /// Mode of the unix sockets, octal [default: 0660]
    #[arg(long, env = "LOCKSIDE_LISTEN_MODE", value_name = "MODE")]
    pub listen_mode: Option<String>,

    /// Group of the unix sockets, by name or number [default: that of the process]
    #[arg(long, env = "LOCKSIDE_LISTEN_GROUP", value_name = "GROUP")]
    pub listen_group: Option<String>,

    /// Host names, without a port, accepted by every API listener besides its own addresses; may be repeated or
    /// comma-separated; all others are 403. Unset: a loopback listener accepts loopback names only, others every name
    #[arg(long, env = "LOCKSIDE_ALLOWED_HOSTS", value_name = "LIST")]
    pub allowed_hosts: Vec<String>,

    /// Origins allowed to send state-changing browser requests, such as `https://admin.example.com`; may be repeated or
    /// comma-separated
    #[arg(long, env = "LOCKSIDE_ALLOWED_ORIGINS", value_name = "LIST")]
    pub allowed_origins: Vec<String>,

    /// Maximum connections on all API listeners, gRPC's among them; beyond it 503 [default: 16384, or as many as this machine's file
    /// descriptors allow]
    #[arg(long, env = "LOCKSIDE_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<String>,

    /// Serve beyond loopback without any authentication
    #[arg(
        long,
        env = "LOCKSIDE_INSECURE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub insecure: String,

    /// Lock stores that the Dapr API offers, each NAME or NAME=PREFIX, whose locks are named PREFIX||resource; may be
    /// repeated or comma-separated; `none`: no store
    #[arg(long, env = "LOCKSIDE_DAPR_STORES", value_name = "LIST", default_value = "lockstore")]
    pub dapr_stores: Vec<String>,

    /// Where /errors is served, for the `type` of errors, such as `https://docs.example.com` [default: the sidecar itself]
    #[arg(long, env = "LOCKSIDE_DOCS_URL", value_name = "URL")]
    pub docs_url: Option<String>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Locks")]
pub struct LockFlags {
    /// First part of every Redis key; one prefix is one namespace
    #[arg(long, env = "LOCKSIDE_KEY_PREFIX", value_name = "TEXT", default_value = "lockside")]
    pub key_prefix: String,

    /// A lock's Redis key is its name, so that it excludes other programs' locks of that key; not on a cluster
    #[arg(
        long,
        env = "LOCKSIDE_RAW_KEYS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub raw_keys: String,

    /// How long an admin lock lasts unless its owner posts it again [default: 5m, or less if --max-ttl or --max-hold is]
    #[arg(long, env = "LOCKSIDE_ADMIN_TTL", value_name = "DURATION")]
    pub admin_ttl: Option<String>,

    /// How long a native lock lasts when its acquire does not say [default: 30s, or less if --max-ttl or --max-hold is]
    #[arg(long, env = "LOCKSIDE_DEFAULT_TTL", value_name = "DURATION")]
    pub default_ttl: Option<String>,

    /// First part of the generated owner name of a service caller that sends none [default: this machine's host name]
    #[arg(long, env = "LOCKSIDE_OWNER_PREFIX", value_name = "TEXT")]
    pub owner_prefix: Option<String>,

    /// Maximum lease duration, at most 8760h
    #[arg(long, env = "LOCKSIDE_MAX_TTL", value_name = "DURATION", default_value = "24h")]
    pub max_ttl: String,

    /// How long a lock can be renewed at most, from its grant on; 2s to 8760h [default: no limit]
    #[arg(long, env = "LOCKSIDE_MAX_HOLD", value_name = "DURATION")]
    pub max_hold: Option<String>,

    /// Maximum time in the queue, at most 24h
    #[arg(long, env = "LOCKSIDE_MAX_WAIT", value_name = "DURATION", default_value = "10m")]
    pub max_wait: String,

    /// Maximum waiting requests; beyond it 429 with Retry-After
    #[arg(long, env = "LOCKSIDE_MAX_WAITERS", value_name = "N", default_value = "4096")]
    pub max_waiters: String,

    /// Maximum open streams of lock events; beyond it 429 with Retry-After
    #[arg(long, env = "LOCKSIDE_MAX_WATCHERS", value_name = "N", default_value = "256")]
    pub max_watchers: String,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Elections")]
pub struct ElectionFlags {
    /// Elections that this sidecar takes part in, each NAME or NAME=KEY, KEY being the lock that the leader holds [default of
    /// KEY: election:NAME]; may be repeated or comma-separated. Who leads is at /v1/elections/NAME
    #[arg(long, env = "LOCKSIDE_ELECT", value_name = "LIST")]
    pub elect: Vec<String>,

    /// Name by which this sidecar stands in its elections [default: POD_NAME, or this machine's host name]
    #[arg(long, env = "LOCKSIDE_ELECT_AS", value_name = "NAME")]
    pub elect_as: Option<String>,

    /// How long a leader leads unless it is renewed, 1s to --max-ttl; the same for all sidecars of an election
    #[arg(long, env = "LOCKSIDE_ELECT_TTL", value_name = "DURATION", default_value = "15s")]
    pub elect_ttl: String,

    /// Take part in elections only while this URL of the app, http or https, answers with a success, or, with asked:30s, while
    /// the app asks who leads at least so often [default: at any time]
    #[arg(long, env = "LOCKSIDE_ELECT_WHILE", value_name = "URL")]
    pub elect_while: Option<String>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Authentication")]
pub struct AuthFlags {
    /// File with the secret of HS256, HS384 and HS512 tokens
    #[arg(long, env = "LOCKSIDE_JWT_SECRET_FILE", value_name = "FILE")]
    pub jwt_secret_file: Option<String>,

    /// PEM file with the public keys of RS, PS, ES or EdDSA tokens, one or more; the algorithms follow from the key
    #[arg(long, env = "LOCKSIDE_JWT_PUBLIC_KEY_FILE", value_name = "FILE")]
    pub jwt_public_key_file: Option<String>,

    /// JWK set with the public keys of RS, PS, ES or EdDSA tokens; unusable keys are skipped
    #[arg(long, env = "LOCKSIDE_JWKS_FILE", value_name = "FILE")]
    pub jwks_file: Option<String>,

    /// URL of a JWK set, https, or http of loopback, which is fetched at start, at each --jwks-refresh, and for a token whose
    /// key is unknown; one that ends in /.well-known/openid-configuration is the discovery document of an issuer, whose name
    /// every token must have
    #[arg(long, env = "LOCKSIDE_JWKS_URL", value_name = "URL", hide_env_values = true)]
    pub jwks_url: Option<String>,

    /// Time between two fetches of --jwks-url, 1s to 24h
    #[arg(long, env = "LOCKSIDE_JWKS_REFRESH", value_name = "DURATION", default_value = "5m")]
    pub jwks_refresh: String,

    /// PEM file with the CA certificates for --jwks-url [default: the system's]
    #[arg(long, env = "LOCKSIDE_JWKS_CA_FILE", value_name = "FILE")]
    pub jwks_ca_file: Option<String>,

    /// The `iss` that every token must name
    #[arg(long, env = "LOCKSIDE_JWT_ISSUER", value_name = "TEXT")]
    pub jwt_issuer: Option<String>,

    /// The `aud` that every token must name
    #[arg(long, env = "LOCKSIDE_JWT_AUDIENCE", value_name = "TEXT")]
    pub jwt_audience: Option<String>,

    /// Claims that list the permissions of a user, the first one present: names of claims, or dotted paths such as
    /// realm_access.roles; may be repeated or comma-separated
    #[arg(long, env = "LOCKSIDE_PERMISSION_CLAIM", value_name = "LIST", default_value = "permissions,scope")]
    pub permission_claim: Vec<String>,

    /// The permission to manage locks, which the admin API and force-release ask for
    #[arg(long, env = "LOCKSIDE_PERMISSION", value_name = "WORD", default_value = "manage-locks")]
    pub permission: String,

    /// The cookie that carries a user's JWT
    #[arg(long, env = "LOCKSIDE_COOKIE_NAME", value_name = "NAME", default_value = "refreshToken")]
    pub cookie_name: String,

    /// File with a bearer token that makes a caller a service caller with full access, or with a policy the caller
    /// token:default
    #[arg(long, env = "LOCKSIDE_API_TOKEN_FILE", value_name = "FILE")]
    pub api_token_file: Option<String>,

    /// Folder whose files each hold the bearer token of one service caller, which is named like the file, such as a
    /// mounted Secret; files whose names begin with a dot are skipped
    #[arg(long, env = "LOCKSIDE_API_TOKENS_DIR", value_name = "DIR")]
    pub api_tokens_dir: Option<String>,

    /// File that says who may do what, a rule a line: SUBJECT VERBS KEYS; what no line allows is denied [default: none:
    /// each caller that is served may lock and read every key]
    #[arg(long, env = "LOCKSIDE_POLICY_FILE", value_name = "FILE")]
    pub policy_file: Option<String>,

    /// What callers without credentials may do: full (everything), lock (the native and the Dapr API, no force-release)
    /// or none. A request that came through a proxy is never served so. Beyond loopback and unix sockets full and lock
    /// need --insecure [default: full without a JWT key and an API token, lock with a JWT key only, none with an API token;
    /// beyond loopback none, without either full]
    #[arg(long, env = "LOCKSIDE_ANONYMOUS", value_name = "LEVEL")]
    pub anonymous: Option<String>,

    /// Look every user up in the Redis hash PREFIX:users; refuse those that are missing or inactive
    #[arg(
        long,
        env = "LOCKSIDE_USER_DIRECTORY",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub user_directory: String,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Quotas")]
pub struct QuotaFlags {
    /// Locks that one caller may have or wait for at once at this sidecar, unless its policy says otherwise; beyond it
    /// 429 [default: no limit]
    #[arg(long, env = "LOCKSIDE_CALLER_LOCKS", value_name = "N")]
    pub caller_locks: Option<String>,

    /// Requests of one caller that may wait or watch at once, for locks, changes or events [default: no limit]
    #[arg(long, env = "LOCKSIDE_CALLER_WAITERS", value_name = "N")]
    pub caller_waiters: Option<String>,

    /// Locks that connections of one caller may hold at once [default: no limit]
    #[arg(long, env = "LOCKSIDE_CALLER_HOLDS", value_name = "N")]
    pub caller_holds: Option<String>,

    /// Requests of one caller in a second; renewals and releases are not counted [default: no limit]
    #[arg(long, env = "LOCKSIDE_CALLER_REQUESTS", value_name = "N")]
    pub caller_requests: Option<String>,

    /// Longest TTL that one caller may ask for, below --max-ttl; beyond it 400 [default: no limit]
    #[arg(long, env = "LOCKSIDE_CALLER_TTL", value_name = "DURATION")]
    pub caller_ttl: Option<String>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Audit")]
pub struct AuditFlags {
    /// File to which an audit trail is appended, a JSON object a line, or stdout; a file that is rotated is opened again
    /// [default: none]
    #[arg(long, env = "LOCKSIDE_AUDIT", value_name = "FILE")]
    pub audit: Option<String>,

    /// What the audit trail has: `force,denied` (force-releases and denials), changes (also grants, releases and losses) or
    /// all (also renewals and conflicts)
    #[arg(long, env = "LOCKSIDE_AUDIT_EVENTS", value_name = "EVENTS", default_value = "changes")]
    pub audit_events: String,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Process")]
pub struct ProcessFlags {
    /// Threads, each with a listener and a Redis connection of its own, 1 to 64
    #[arg(long, env = "LOCKSIDE_THREADS", value_name = "N", default_value = "1")]
    pub threads: String,

    /// How long requests in progress may take to end after SIGTERM
    #[arg(long, env = "LOCKSIDE_SHUTDOWN_GRACE", value_name = "DURATION", default_value = "10s")]
    pub shutdown_grace: String,

    /// error, warn, info, debug (logs every request) or trace
    #[arg(long, env = "LOCKSIDE_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,

    /// text or json
    #[arg(long, env = "LOCKSIDE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: String,
}
