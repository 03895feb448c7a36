//! The one table from errors to answers: a row an error, a column an API. Data only: `answer.rs` renders it.
//!
//! What the caller may know and what the log must say are two messages. A row's texts go to the caller; the reason
//! that a failure carries goes to the log, and to the caller only where it speaks of the caller's own request.

use std::sync::Arc;

use hyper::StatusCode;

use crate::auth::Unauthorized;
use crate::lock::{Holder, Key, ListFailure, LockFailure, Token};
use crate::policy::Verb;
use crate::quota::Exceeded;
use crate::redis::RedisFailure;
use crate::server::BodyError;

/// Why a request is not answered as asked.
#[derive(Clone, Debug)]
pub enum Failure {
    BadRequest(String),
    Unauthorized(String),
    /// The client certificate of the connection has expired, or is not trusted any more.
    CertificateRefused(String),
    /// The keys that verify JWTs were not fetched yet.
    KeysUnavailable(String),
    /// The request came through a proxy without credentials: its sender is unknown.
    Proxied,
    Forbidden(Denial),
    /// The token is valid, but its user is unknown or inactive.
    NoSuchUser(&'static str),
    /// No operation has this path.
    NoSuchRoute,
    /// A key with a bare slash in it.
    SlashInKey,
    /// The Dapr API has no lock store of this name.
    NoSuchStore(String),
    /// The Dapr API has no lock store at all.
    NoStores,
    NoSuchLease,
    /// This sidecar takes part in no election of this name.
    NoSuchElection(String),
    /// Another owner's lease.
    NotYours,
    /// The caller had the lease, and it expired, was force-released, or was superseded.
    Lost,
    /// The token does not hold the key now; with the one that does, if any.
    Fenced {
        token: Option<Token>,
        is_shared: bool,
    },
    MethodNotAllowed(String),
    RequestTimeout,
    /// The body is compressed.
    Encoded,
    TooLarge,
    /// The key is held by another owner.
    Held(Holder),
    /// The waiter timed out in the queue.
    WaitTimeout(Option<Box<Queue>>),
    TooManyWaiters(String),
    /// Too many requests of this kind are under way.
    TooManyRequests(String),
    /// The caller is at a limit of its own.
    QuotaExceeded(Exceeded),
    Overloaded(String),
    /// The process is being stopped.
    Draining,
    /// Redis cannot be reached.
    RedisUnavailable(String),
    /// Redis refused the command; `advice` says what to change there, where that is known.
    RedisRefused {
        reason: String,
        advice: Option<String>,
    },
    TooLate(String),
    RenewedTooLate(String),
    OutcomeUnknown(String),
    /// Of several keys.
    OfBundle(Box<OfBundle>),
}

/// A failure of a request for several keys, and which of them it is about.
#[derive(Clone, Debug)]
pub struct OfBundle {
    /// Why the request failed: everything but the keys follows from that.
    pub cause: Failure,
    /// The one that stands in the way.
    pub key: Option<Key>,
    /// Those whose leases are lost.
    pub lost: Vec<Key>,
    /// Those of which is not known what became.
    pub unknown: Vec<Key>,
}

/// Why a caller is not allowed to do what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The host is not one of the listener's.
    Host,
    /// The page's origin is not allowed.
    Origin,
    /// The caller does not manage locks: a sentence that names the permission.
    Permission(Arc<str>),
    /// The caller is a user, and no service.
    User,
    /// No line of the policy allows it.
    Policy(Verb),
}

impl Denial {
    /// The caller lacks this permission.
    pub fn permission(word: &str) -> Denial {
        Denial::Permission(format!("lacks the permission {word}").into())
    }

    /// For machines.
    fn code(&self) -> &'static str {
        match self {
            Denial::Host => "host-not-allowed",
            Denial::Origin => "origin-not-allowed",
            Denial::Permission(_) | Denial::User | Denial::Policy(_) => "missing-permission",
        }
    }

    /// For people.
    pub fn sentence(&self) -> &str {
        match self {
            Denial::Host => "this host name is not accepted; see --allowed-hosts",
            Denial::Origin => "pages of this origin are not served; see --allowed-origins",
            Denial::Permission(sentence) => sentence,
            Denial::User => "a user; the owners of the Dapr API are service callers",
            Denial::Policy(Verb::Lock) => "the policy does not allow lock",
            Denial::Policy(Verb::Read) => "the policy does not allow read",
            Denial::Policy(Verb::ForceRelease) => "the policy does not allow force-release",
        }
    }
}

/// The queue of a key, as a request that timed out in it left it.
#[derive(Clone, Debug)]
pub struct Queue {
    /// `None` if the key was free at that moment.
    pub holder: Option<Holder>,
    pub waiters: u64,
}

/// One row: the code that machines read, and what each API answers.
pub struct Row {
    pub code: &'static str,
    /// In every API but the admin and the Dapr API.
    pub status: StatusCode,
    pub english: &'static str,
    pub german: &'static str,
    pub admin: (StatusCode, &'static str),
    /// `errorCode`, or none where it names the operation: what Redis did not do.
    pub dapr: (StatusCode, Option<&'static str>),
    /// In the Dapr API over gRPC.
    pub grpc: Grpc,
}

/// A status of gRPC, by its number. What may have happened is never `Unavailable`, since clients repeat that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grpc {
    Ok = 0,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Failure {
    #[rustfmt::skip]
    pub fn row(&self) -> Row {
        use StatusCode as S;
        let row = |code, status, english, german, admin_status, admin_text, dapr_status, dapr_code, grpc| Row {
            code, status, english, german, admin: (admin_status, admin_text), dapr: (dapr_status, dapr_code), grpc,
        };
        const BROKEN: &str = "Internal server error";
        // Dapr's own codes; where it has none, one in its style.
        const MALFORMED: Option<&str> = Some("ERR_MALFORMED_REQUEST");
        match self {
            //                           code                   status                  English                                   German                                               admin API                                               Dapr API
            Failure::BadRequest(_)       => row("bad-request",         S::BAD_REQUEST,         "Invalid request.",              "Die Anfrage ist ungültig.",                  S::BAD_REQUEST,           "Missing parameters",         S::BAD_REQUEST,            MALFORMED, Grpc::InvalidArgument),
            Failure::Unauthorized(_)     => row("unauthorized",        S::UNAUTHORIZED,        "Authentication required.",                        "Anmeldung erforderlich.",                  S::UNAUTHORIZED,          "Unauthorized",               S::UNAUTHORIZED,           Some("ERR_UNAUTHORIZED"), Grpc::Unauthenticated),
            Failure::CertificateRefused(_) => row("unauthorized",      S::UNAUTHORIZED,        "The client certificate has expired or is not trusted any more.", "Das Zertifikat der Verbindung ist abgelaufen oder nicht mehr vertrauenswürdig.", S::UNAUTHORIZED, "Unauthorized", S::UNAUTHORIZED,           Some("ERR_UNAUTHORIZED"), Grpc::Unauthenticated),
            Failure::KeysUnavailable(_)  => row("keys-unavailable",    S::SERVICE_UNAVAILABLE, "The keys that verify JWTs have not been fetched yet; nothing was changed.", "Die Schlüssel für JWTs sind noch nicht geladen; nichts wurde geändert.", S::SERVICE_UNAVAILABLE, "Service unavailable", S::SERVICE_UNAVAILABLE, Some("ERR_KEYS_UNAVAILABLE"), Grpc::Unavailable),
            Failure::Proxied             => row("unauthorized",        S::UNAUTHORIZED,        "The request came through a proxy and has no credentials.", "Die Anfrage kam über einen Proxy und ohne Anmeldung.", S::UNAUTHORIZED, "Unauthorized",            S::UNAUTHORIZED,           Some("ERR_UNAUTHORIZED"), Grpc::Unauthenticated),
            Failure::Forbidden(_)        => row("forbidden",           S::FORBIDDEN,           "Not allowed.",        "Nicht erlaubt.",                      S::FORBIDDEN,             "Forbidden",                  S::FORBIDDEN,              Some("ERR_FORBIDDEN"), Grpc::PermissionDenied),
            Failure::NoSuchUser(_)       => row("unauthorized",        S::UNAUTHORIZED,        "Your account is unknown or inactive.",   "Ihr Konto ist unbekannt oder nicht aktiv.",  S::NOT_FOUND,             "Not found",                  S::UNAUTHORIZED,           Some("ERR_UNAUTHORIZED"), Grpc::Unauthenticated),
            Failure::NoSuchRoute         => row("not-found",           S::NOT_FOUND,           "No such endpoint; see /openapi.json.",                 "Diesen Endpunkt gibt es nicht; siehe /openapi.json.",                           S::NOT_FOUND,             "Not found",                  S::NOT_FOUND,              Some("ERR_NOT_FOUND"), Grpc::Unimplemented),
            Failure::SlashInKey          => row("not-found",           S::NOT_FOUND,           "No such endpoint. A / in a key is written %2F, as in /v1/locks/orders%2F7.",                 "Diesen Endpunkt gibt es nicht. Ein / im Namen einer Sperre wird %2F geschrieben.",                           S::NOT_FOUND,             "Not found",                  S::NOT_FOUND,              Some("ERR_NOT_FOUND"), Grpc::Unimplemented),
            Failure::NoSuchStore(_)      => row("not-found",           S::NOT_FOUND,           "No such lock store.",           "Diesen Sperrenspeicher gibt es nicht.",      S::NOT_FOUND,             "Not found",                  S::BAD_REQUEST,            Some("ERR_LOCK_STORE_NOT_FOUND"), Grpc::InvalidArgument),
            Failure::NoStores            => row("not-found",           S::NOT_FOUND,           "lock store is not configured",           "Es gibt keinen Sperrenspeicher.",            S::NOT_FOUND,             "Not found",                  S::INTERNAL_SERVER_ERROR,  Some("ERR_LOCK_STORE_NOT_CONFIGURED"), Grpc::FailedPrecondition),
            Failure::NoSuchLease         => row("not-found",           S::NOT_FOUND,           "No such lock, or it has ended.",      "Diese Sperre gibt es nicht, oder sie ist abgelaufen.",         S::NOT_FOUND,             "Not found",                  S::NOT_FOUND,              Some("ERR_NOT_FOUND"), Grpc::NotFound),
            Failure::NoSuchElection(_)   => row("no-such-election",    S::NOT_FOUND,           "This sidecar takes part in no such election; see --elect.", "An dieser Wahl nimmt dieser Dienst nicht teil; siehe --elect.", S::NOT_FOUND,             "Not found",                  S::NOT_FOUND,              Some("ERR_NOT_FOUND"), Grpc::NotFound),
            Failure::NotYours            => row("forbidden",           S::FORBIDDEN,           "The lock belongs to another owner.",     "Die Sperre gehört einem anderen Besitzer.",          S::FORBIDDEN,             "Forbidden",                  S::FORBIDDEN,              Some("ERR_FORBIDDEN"), Grpc::PermissionDenied),
            Failure::Lost                => row("lost",                S::GONE,                "The lease has expired or was released.",                   "Die Sperre ist abgelaufen oder wurde freigegeben.",                 S::NOT_FOUND,             "Not found",                  S::GONE,                   Some("ERR_NOT_FOUND"), Grpc::NotFound),
            Failure::Fenced { .. }       => row("lost",                S::CONFLICT,            "This token no longer holds the lock.",       "Dieses Token hält die Sperre nicht mehr.",           S::CONFLICT,              "Conflict",                   S::CONFLICT,               Some("ERR_NOT_FOUND"), Grpc::Aborted),
            Failure::MethodNotAllowed(_) => row("method-not-allowed",  S::METHOD_NOT_ALLOWED,  "The method is not allowed here.",        "Diese Methode ist hier nicht erlaubt.",      S::METHOD_NOT_ALLOWED,    "Method not allowed",         S::METHOD_NOT_ALLOWED,     Some("ERR_METHOD_NOT_ALLOWED"), Grpc::Unimplemented),
            Failure::RequestTimeout      => row("bad-request",         S::REQUEST_TIMEOUT,     "The request took too long to arrive.",   "Die Anfrage kam zu langsam an.",             S::REQUEST_TIMEOUT,       "Request timeout",            S::REQUEST_TIMEOUT,        Some("ERR_BODY_READ"), Grpc::DeadlineExceeded),
            Failure::Encoded             => row("unsupported-media-type", S::UNSUPPORTED_MEDIA_TYPE, "The body is compressed (Content-Encoding); send it as it is.", "Die Anfrage ist komprimiert (Content-Encoding); bitte unkomprimiert senden.", S::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", S::UNSUPPORTED_MEDIA_TYPE, Some("ERR_BODY_READ"), Grpc::Unimplemented),
            Failure::TooLarge            => row("too-large",           S::PAYLOAD_TOO_LARGE,   "The request is too large.",              "Die Anfrage ist zu groß.",                   S::PAYLOAD_TOO_LARGE,     "Payload too large",          S::PAYLOAD_TOO_LARGE,      Some("ERR_BODY_READ"), Grpc::ResourceExhausted),
            Failure::Held(_)             => row("held",                S::CONFLICT,            "The lock is held by another owner.",          "Jemand anderes hält die Sperre.",            S::CONFLICT,              "Conflict",                   S::CONFLICT,               None, Grpc::Aborted),
            Failure::WaitTimeout(_)      => row("wait-timeout",        S::CONFLICT,            "Timed out waiting for the lock.",         "Zeitüberschreitung beim Warten auf die Sperre.",   S::CONFLICT,              "Conflict",                   S::CONFLICT,               None, Grpc::Aborted),
            Failure::TooManyWaiters(_)   => row("too-many-waiters",    S::TOO_MANY_REQUESTS,   "Too many waiting requests; retry later.",    "Zu viele wartende Anfragen; bitte später erneut versuchen.", S::TOO_MANY_REQUESTS,     "Too many requests", S::TOO_MANY_REQUESTS,      None, Grpc::Unavailable),
            Failure::TooManyRequests(_)  => row("too-many-requests",   S::TOO_MANY_REQUESTS,   "Too many lists are being read, or too many streams are open; retry later.", "Zu viele Listen werden gerade gelesen, oder zu viele Datenströme sind offen; bitte später erneut versuchen.", S::TOO_MANY_REQUESTS, "Too many requests", S::TOO_MANY_REQUESTS, Some("ERR_TOO_MANY_REQUESTS"), Grpc::Unavailable),
            Failure::QuotaExceeded(_)    => row("quota-exceeded",      S::TOO_MANY_REQUESTS,   "The caller has as many as it may at once; release some, or retry later.", "So viele auf einmal sind Ihnen nicht erlaubt; bitte welche freigeben oder später erneut versuchen.", S::TOO_MANY_REQUESTS, "Too many requests", S::TOO_MANY_REQUESTS, Some("ERR_QUOTA_EXCEEDED"), Grpc::ResourceExhausted),
            Failure::Draining            => row("draining",            S::SERVICE_UNAVAILABLE, "The sidecar is shutting down.",          "Der Dienst wird gerade beendet.",            S::SERVICE_UNAVAILABLE,   "Service unavailable",        S::SERVICE_UNAVAILABLE,    None, Grpc::Unavailable),
            Failure::Overloaded(_)       => row("overloaded",          S::SERVICE_UNAVAILABLE, "Too many concurrent requests; retry later.",  "Zu viele gleichzeitige Anfragen; bitte später erneut versuchen.", S::SERVICE_UNAVAILABLE,   "Service unavailable", S::SERVICE_UNAVAILABLE,    None, Grpc::Unavailable),
            Failure::RedisUnavailable(_) => row("redis-unavailable",   S::SERVICE_UNAVAILABLE, "Redis is unavailable; nothing was changed.", "Redis ist nicht erreichbar; nichts wurde geändert.", S::INTERNAL_SERVER_ERROR, BROKEN, S::INTERNAL_SERVER_ERROR,  None, Grpc::Internal),
            Failure::RedisRefused { .. } => row("redis-refused",       S::SERVICE_UNAVAILABLE, "Redis refused the command; nothing was changed.", "Redis hat den Befehl abgelehnt; nichts wurde geändert.", S::INTERNAL_SERVER_ERROR, BROKEN,             S::INTERNAL_SERVER_ERROR,  None, Grpc::Internal),
            Failure::TooLate(_)          => row("too-late",            S::SERVICE_UNAVAILABLE, "Redis replied too late; the grant was rolled back.", "Die Sperre wurde zu spät erteilt und zurückgenommen.", S::INTERNAL_SERVER_ERROR, BROKEN,                  S::INTERNAL_SERVER_ERROR,  None, Grpc::Internal),
            Failure::RenewedTooLate(_)   => row("too-late",            S::SERVICE_UNAVAILABLE, "Redis replied too late; the lease was renewed, but cannot be relied on.", "Die Verlängerung kam zu spät und ist nicht mehr verlässlich.", S::INTERNAL_SERVER_ERROR, BROKEN,            S::INTERNAL_SERVER_ERROR,  None, Grpc::Internal),
            Failure::OutcomeUnknown(_)   => row("outcome-unknown",     S::GATEWAY_TIMEOUT,     "Outcome unknown: Redis did not reply in time. Check the lock before retrying.", "Das Ergebnis ist unbekannt: Redis hat nicht rechtzeitig geantwortet. Bitte die Sperre prüfen, bevor Sie es wiederholen.", S::INTERNAL_SERVER_ERROR, BROKEN, S::INTERNAL_SERVER_ERROR,  None, Grpc::Internal),
            Failure::OfBundle(of_bundle) => of_bundle.cause.row(),
        }
    }

    /// Of a request for several keys that failed because of this one.
    pub fn because_of(self, key: Key) -> Failure {
        let (lost, unknown) = (Vec::new(), Vec::new());
        Failure::OfBundle(Box::new(OfBundle { cause: self, key: Some(key), lost, unknown }))
    }

    /// Why the request failed, and of one for several keys which of them that is about.
    pub fn parts(&self) -> (&Failure, Option<&OfBundle>) {
        match self {
            Failure::OfBundle(of_bundle) => (&of_bundle.cause, Some(of_bundle)),
            failure => (failure, None),
        }
    }

    /// The code that machines read, from a small fixed set.
    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// Whether the operation was applied, as far as is known.
    pub fn outcome(&self) -> &'static str {
        match self {
            Failure::OutcomeUnknown(_) => "unknown",
            Failure::RenewedTooLate(_) => "applied",
            Failure::OfBundle(of_bundle) => of_bundle.cause.outcome(),
            _ => "not-applied",
        }
    }

    /// Why the request is not allowed, for machines: the header `Lockside-Reason`.
    pub fn denied_for(&self) -> Option<&'static str> {
        match self {
            Failure::Forbidden(denial) => Some(denial.code()),
            Failure::Proxied => Some("proxied-anonymous"),
            _ => None,
        }
    }

    /// The reason for the log, where the code does not say all.
    pub fn reason(&self) -> &str {
        match self {
            Failure::BadRequest(reason)
            | Failure::Unauthorized(reason)
            | Failure::CertificateRefused(reason)
            | Failure::KeysUnavailable(reason)
            | Failure::NoSuchStore(reason)
            | Failure::NoSuchElection(reason)
            | Failure::TooManyWaiters(reason)
            | Failure::TooManyRequests(reason)
            | Failure::Overloaded(reason)
            | Failure::RedisUnavailable(reason)
            | Failure::RedisRefused { reason, .. }
            | Failure::TooLate(reason)
            | Failure::RenewedTooLate(reason)
            | Failure::OutcomeUnknown(reason) => reason,
            Failure::Forbidden(denial) => denial.sentence(),
            Failure::QuotaExceeded(Exceeded { limit, .. }) => limit.label(),
            Failure::NoSuchUser(reason) => reason,
            Failure::OfBundle(of_bundle) => of_bundle.cause.reason(),
            Failure::Proxied => "no credentials, and a header `Forwarded`, `X-Forwarded-…` or `Via`",
            _ => "",
        }
    }
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Failure {
        Failure::QuotaExceeded(exceeded)
    }
}

impl From<Unauthorized> for Failure {
    fn from(unauthorized: Unauthorized) -> Failure {
        match unauthorized {
            Unauthorized::Refused(reason) | Unauthorized::UnknownKey(reason) => Failure::Unauthorized(reason),
            Unauthorized::Certificate(_) => Failure::CertificateRefused(unauthorized.to_string()),
            Unauthorized::NoKeys(reason) => Failure::KeysUnavailable(reason),
        }
    }
}

impl From<LockFailure> for Failure {
    fn from(failure: LockFailure) -> Failure {
        match failure {
            LockFailure::Redis(failure) => failure.into(),
            LockFailure::WaitTimeout => Failure::WaitTimeout(None),
            LockFailure::TooManyWaiters(_) => Failure::TooManyWaiters(failure.to_string()),
            LockFailure::TooManyWatchers(_) => Failure::TooManyRequests(failure.to_string()),
            LockFailure::Draining => Failure::Draining,
            // Redis was reachable; its replicas were not.
            LockFailure::TakenBack(_) => Failure::RedisRefused {
                reason: failure.to_string(),
                advice: Some("--min-replicas needs replicas that acknowledge: restore them".to_owned()),
            },
            LockFailure::TooLate(_) => Failure::TooLate(failure.to_string()),
            LockFailure::RenewedTooLate(_) => Failure::RenewedTooLate(failure.to_string()),
            LockFailure::TooLong { .. } => Failure::BadRequest(failure.to_string()),
        }
    }
}

impl From<ListFailure> for Failure {
    fn from(failure: ListFailure) -> Failure {
        match failure {
            ListFailure::TooMany => Failure::TooManyRequests(failure.to_string()),
            ListFailure::Redis(failure) => failure.into(),
        }
    }
}

impl From<RedisFailure> for Failure {
    fn from(failure: RedisFailure) -> Failure {
        let reason = failure.to_string();
        match failure {
            RedisFailure::Overloaded(_) => Failure::Overloaded(reason),
            failure if failure.may_have_happened() => Failure::OutcomeUnknown(reason),
            RedisFailure::Refused(_) => Failure::RedisRefused { reason, advice: failure.advice().map(str::to_owned) },
            _ => Failure::RedisUnavailable(reason),
        }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Failure {
        match error {
            BodyError::TooLarge => Failure::TooLarge,
            BodyError::Timeout => Failure::RequestTimeout,
            BodyError::Encoded => Failure::Encoded,
            BodyError::Broken => Failure::BadRequest(error.to_string()),
        }
    }
}
