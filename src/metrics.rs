//! Every metric, declared in one block: the doc comment is the HELP text. Label values come only from enums and from
//! the names of our scripts and of the elections that are configured; never from keys or owners.

use std::sync::RwLock;
use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

macro_rules! metrics {
    ($( #[doc = $help:literal] $field:ident: $kind:ident = $name:literal [$($label:literal),*]; )*) => {
        /// All metrics of the process.
        pub struct Metrics {
            registry: Registry,
            answered: Known<(IntCounter, Histogram)>,
            round_trips: Known<(IntCounter, Histogram)>,
            $( #[doc = $help] pub $field: $kind, )*
        }

        impl Metrics {
            /// A registry with every metric in it.
            pub fn new() -> Metrics {
                let registry = Registry::new();
                $( let $field = $kind::declare($name, $help.trim(), &[$($label),*], &registry); )*
                let process = ProcessCollector::for_self();
                registry.register(Box::new(process)).expect("process metrics are registered once");
                Metrics { registry, answered: Known::default(), round_trips: Known::default(), $( $field, )* }
            }
        }
    };
}

metrics! {
    /// HTTP requests answered, by API (dialect), operation and outcome.
    requests: IntCounterVec = "lockside_requests_total" ["dialect", "operation", "outcome"];
    /// Time from a request's head to its answer's head, in seconds, by kind of operation, over all APIs: acquire, hold, renew, release, read, wait, other.
    request_seconds: HistogramVec = "lockside_request_duration_seconds" ["operation"];
    /// Acquires that were asked for, by mode: exclusive or shared.
    acquires: IntCounterVec = "lockside_acquire_total" ["mode"];
    /// Shared acquires that were refused, by reason: exclusive (the key is held alone), full (as many leases share it as may), queue (others wait for it).
    shared_refused: IntCounterVec = "lockside_shared_refused_total" ["reason"];
    /// Time from sending a command to its reply or deadline, in seconds.
    redis_seconds: HistogramVec = "lockside_redis_round_trip_seconds" [];
    /// Redis commands sent, by script or kind of command.
    redis_commands: IntCounterVec = "lockside_redis_commands_total" ["operation"];
    /// Redis commands without a good reply, by what is known of them.
    redis_errors: IntCounterVec = "lockside_redis_errors_total" ["operation", "error"];
    /// Whether Redis replies and does what an acquire needs, as /readyz says: 1 or 0.
    redis_up: IntGaugeVec = "lockside_redis_up" [];
    /// Reconnections to Redis, by reason.
    redis_reconnections: IntCounterVec = "lockside_redis_reconnections_total" ["reason"];
    /// Connected Redis servers, by topology and role.
    redis_topology: IntGaugeVec = "lockside_redis_topology" ["topology", "role"];
    /// Safety warnings: 1 while a warning applies; /readyz says what to change.
    redis_warning: IntGaugeVec = "lockside_redis_warning" ["warning"];
    /// Steps of Redis's clock by more than a second, by direction.
    clock_steps: IntCounterVec = "lockside_redis_clock_steps_total" ["direction"];
    /// Locks held in this namespace over all sidecars, as the index has them; expired ones count until they are swept. Absent where a part of Redis cannot be read.
    locks_held: IntGaugeVec = "lockside_locks_held" [];
    /// Index entries of expired locks that this process has removed.
    swept_entries: IntCounterVec = "lockside_swept_entries_total" [];
    /// Requests that wait for a lock in this process.
    waiters: IntGaugeVec = "lockside_waiters" [];
    /// Streams of lock events that are open at this process, by what they watch: a key, or a prefix.
    watchers: IntGaugeVec = "lockside_watchers" ["kind"];
    /// Times that a watcher was told that it may have missed changes.
    watch_gaps: IntCounterVec = "lockside_watch_gaps_total" [];
    /// Locks that are held through open connections to this process.
    holds: IntGaugeVec = "lockside_holds" [];
    /// Locks that were lost while a connection held them, by what the holder was told.
    holds_lost: IntCounterVec = "lockside_holds_lost_total" ["reason"];
    /// Whether this sidecar leads the election: 1 or 0.
    leader: IntGaugeVec = "lockside_leader" ["election"];
    /// Changes of this sidecar's part in an election: elected, and why it led no longer.
    leader_changes: IntCounterVec = "lockside_leader_changes_total" ["election", "why"];
    /// When the oldest lock of this namespace was granted, in seconds since 1970 by Redis's clock; absent when none is held, or a part of Redis cannot be read.
    oldest_lock: GaugeVec = "lockside_oldest_lock_timestamp_seconds" [];
    /// Connections that are open now, by listener.
    connections: IntGaugeVec = "lockside_connections" ["listener"];
    /// Connections refused because too many were open, by listener.
    connections_refused: IntCounterVec = "lockside_connections_refused_total" ["listener"];
    /// Connections closed because the client was too slow or its TLS handshake failed, by listener and reason.
    connections_cut: IntCounterVec = "lockside_connections_cut_total" ["listener", "reason"];
    /// 1 while a secret's file is invalid and its previous value stays in effect, by flag.
    secret_file_unfit: IntGaugeVec = "lockside_secret_file_unfit" ["flag"];
    /// Requests that the policy denied, by the verb that was missing.
    denied: IntCounterVec = "lockside_denied_total" ["verb"];
    /// Requests refused because their caller was at a limit of its own, by the limit.
    quota_exceeded: IntCounterVec = "lockside_quota_exceeded_total" ["limit"];
    /// Lines of the audit trail that could not be written; no sample without --audit.
    audit_lost: IntCounterVec = "lockside_audit_lost_total" [];
    /// Always 1; the labels say what runs.
    build_info: IntGaugeVec = "lockside_build_info" ["version"];
}

/// A value of a label: from an enum of ours, never a key or an owner.
pub trait Label {
    fn label(&self) -> &'static str;
}

impl Metrics {
    pub fn redis_round_trip(&self, operation: &impl Label, took: Duration) {
        let label = operation.label();
        let find =
            || (self.redis_commands.with_label_values(&[label]), self.redis_seconds.with_label_values::<&str>(&[]));
        self.round_trips.with([label, "", ""], find, |series| observe(series, took));
    }

    pub fn redis_error(&self, operation: &impl Label, failure: &impl Label) {
        self.redis_errors.with_label_values(&[operation.label(), failure.label()]).inc();
    }

    pub fn request(&self, dialect: &'static str, operation: &'static str, outcome: &'static str, took: Duration) {
        let labels = [dialect, operation, outcome];
        let find =
            || (self.requests.with_label_values(&labels), self.request_seconds.with_label_values(&[kind(operation)]));
        self.answered.with(labels, find, |series| observe(series, took));
    }

    /// Prometheus's text format.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("gathered metrics encode")
    }
}

fn observe((count, seconds): &(IntCounter, Histogram), took: Duration) {
    count.inc();
    seconds.observe(took.as_secs_f64());
}

/// Most series that are kept at hand: more than there are of each kind.
const MOST_KNOWN: usize = 256;

/// Series that are touched for each request, by their labels. These are literals, so that where one lies in memory tells
/// it from all others, and none is hashed; a literal that lies in two places is merely known twice.
struct Known<S>(RwLock<Vec<([&'static str; 3], S)>>);

impl<S> Default for Known<S> {
    fn default() -> Known<S> {
        Known(RwLock::default())
    }
}

impl<S> Known<S> {
    fn with(&self, labels: [&'static str; 3], find: impl FnOnce() -> S, touch: impl FnOnce(&S)) {
        let known = self.0.read().expect("no holder of this lock panics");
        let is_same =
            |other: &[&'static str; 3]| labels.iter().zip(other).all(|(one, other)| std::ptr::eq(*one, *other));
        if let Some((_, series)) = known.iter().find(|(other, _)| is_same(other)) {
            return touch(series);
        }
        drop(known);
        let series = find();
        touch(&series);
        let mut known = self.0.write().expect("no holder of this lock panics");
        if known.len() < MOST_KNOWN {
            known.push((labels, series));
        }
    }
}

/// What an operation is in every dialect, so that few series tell how long requests take.
fn kind(operation: &'static str) -> &'static str {
    match operation {
        "lock" | "create" | "acquire" | "try_lock" => "acquire",
        "hold" => "hold",
        "renew" => "renew",
        "remove" | "release" | "custom_remove" | "unlock" => "release",
        "wait" => "wait",
        "list" | "show" | "queue" | "fence" | "events" => "read",
        _ => "other",
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

trait Declare: Sized {
    fn declare(name: &str, help: &str, labels: &[&str], registry: &Registry) -> Self;
}

impl Declare for IntCounterVec {
    fn declare(name: &str, help: &str, labels: &[&str], registry: &Registry) -> Self {
        registered(IntCounterVec::new(Opts::new(name, help), labels), registry)
    }
}

impl Declare for IntGaugeVec {
    fn declare(name: &str, help: &str, labels: &[&str], registry: &Registry) -> Self {
        registered(IntGaugeVec::new(Opts::new(name, help), labels), registry)
    }
}

impl Declare for GaugeVec {
    fn declare(name: &str, help: &str, labels: &[&str], registry: &Registry) -> Self {
        registered(GaugeVec::new(Opts::new(name, help), labels), registry)
    }
}

impl Declare for HistogramVec {
    fn declare(name: &str, help: &str, labels: &[&str], registry: &Registry) -> Self {
        // From a loopback round trip to the longest deadline. Each is a series more for each label.
        let buckets = vec![0.000_25, 0.001, 0.002_5, 0.01, 0.05, 0.25, 1.0, 5.0];
        registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels), registry)
    }
}

fn registered<C: prometheus::core::Collector + Clone + 'static>(
    metric: prometheus::Result<C>,
    registry: &Registry,
) -> C {
    let metric = metric.expect("the declaration block is well formed");
    registry.register(Box::new(metric.clone())).expect("the declaration block names each metric once");
    metric
}
