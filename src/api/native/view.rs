//! How the answers of the native API are spelled: a lease for its owner, a holder for every caller.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::wire::rfc3339;
use crate::lock::{Expiry, Hidden, Holder, Key, Lease, Mode, OwnerKind, State, Token};

/// A lease, for its owner.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseView<'a> {
    key: &'a str,
    token: Token,
    mode: &'static str,
    /// How many may share the key, where the request said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u16>,
    owner: &'a str,
    ttl_ms: u64,
    valid_for_ms: u64,
    valid_until: String,
}

impl<'a> From<&'a Lease> for LeaseView<'a> {
    fn from(lease: &'a Lease) -> LeaseView<'a> {
        LeaseView {
            key: lease.key.as_str(),
            token: lease.token,
            mode: lease.mode.label(),
            limit: lease.mode.limit(),
            owner: &lease.owner.id,
            ttl_ms: lease.ttl_ms,
            valid_for_ms: lease.valid_for_ms,
            valid_until: rfc3339(lease.valid_until_ms),
        }
    }
}

/// Leases that were acquired together, for their owner.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleView<'a> {
    leases: Vec<LeaseView<'a>>,
    /// The least.
    valid_for_ms: u64,
}

impl<'a> BundleView<'a> {
    /// In the order of the request.
    pub fn of(leases: impl Iterator<Item = &'a Lease>) -> BundleView<'a> {
        let leases: Vec<LeaseView<'_>> = leases.map(LeaseView::from).collect();
        let valid_for_ms = leases.iter().map(|lease| lease.valid_for_ms).min().unwrap_or(0);
        BundleView { leases, valid_for_ms }
    }
}

/// `held`, or `resting`: released, and still taken.
pub fn state_of(holder: &Holder) -> &'static str {
    match holder {
        Holder::Lease(lease) => state_of_lease(lease),
        Holder::Hidden(Hidden { is_resting: true, .. }) => "resting",
        Holder::Shared(sharing) if sharing.is_resting() => "resting",
        Holder::Shared(_) | Holder::Stranger(_) | Holder::Queue(_) | Holder::Hidden(_) => "held",
    }
}

/// [`state_of`], of a lease.
pub fn state_of_lease(lease: &Lease) -> &'static str {
    if lease.is_resting { "resting" } else { "held" }
}

/// A key, for every caller.
#[derive(Serialize)]
pub struct StateView<'a> {
    key: &'a str,
    state: &'a str,
    #[serde(flatten)]
    sharing: SharingView,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<HolderView<'a>>,
    /// Where leases share the key, oldest grant first.
    #[serde(skip_serializing_if = "Option::is_none")]
    holders: Option<Vec<HolderView<'a>>>,
    waiters: u64,
}

/// That leases share a key, and how many.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SharingView {
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared_by: Option<u64>,
}

impl SharingView {
    /// Of a key that leases share, where only a token of theirs is told.
    pub const OF_A_TOKEN: SharingView = SharingView { mode: Some("shared"), shared_by: None };
}

impl From<&Holder> for SharingView {
    fn from(holder: &Holder) -> SharingView {
        match holder {
            Holder::Shared(sharing) => SharingView { mode: Some("shared"), shared_by: Some(sharing.count) },
            Holder::Lease(_) | Holder::Stranger(_) | Holder::Queue(_) | Holder::Hidden(_) => SharingView::default(),
        }
    }
}

impl<'a> StateView<'a> {
    pub fn of(key: &'a Key, state: &'a State, waiters: u64) -> StateView<'a> {
        let key = key.as_str();
        let State::Held(holder) = state else {
            return StateView {
                key,
                state: "free",
                sharing: SharingView::default(),
                holder: None,
                holders: None,
                waiters,
            };
        };
        let holders = match holder {
            Holder::Shared(sharing) => Some(sharing.leases.iter().map(HolderView::from).collect()),
            Holder::Lease(_) | Holder::Stranger(_) | Holder::Queue(_) | Holder::Hidden(_) => None,
        };
        StateView {
            key,
            state: state_of(holder),
            sharing: SharingView::from(holder),
            holder: Some(HolderView::from(holder)),
            holders,
            waiters,
        }
    }
}

/// Who holds a key, for every caller. Of a key that another program holds, and of a lease that
/// the caller may not read, only the expiry is shown, if it has one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderView<'a> {
    owner: Option<&'a str>,
    /// Of a lease that shares its key, whose own state may be another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(flatten)]
    known: Known<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Known<'a> {
    #[serde(rename_all = "camelCase")]
    Lease {
        kind: OwnerKind,
        /// How the user is called, for people.
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<&'a str>,
        token: Token,
        mode: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u16>,
        since: String,
        ttl_ms: u64,
        valid_for_ms: u64,
        valid_until: String,
        meta: Option<&'a RawValue>,
    },
    #[serde(rename_all = "camelCase")]
    Expiry {
        valid_for_ms: u64,
        valid_until: String,
    },
    Nothing {},
}

impl<'a> From<&'a Lease> for HolderView<'a> {
    fn from(lease: &'a Lease) -> HolderView<'a> {
        let known = Known::Lease {
            kind: lease.owner.kind,
            label: lease.owner.label.as_deref(),
            token: lease.token,
            mode: lease.mode.label(),
            limit: lease.mode.limit(),
            since: rfc3339(lease.since_ms),
            ttl_ms: lease.ttl_ms,
            valid_for_ms: lease.valid_for_ms,
            valid_until: rfc3339(lease.valid_until_ms),
            meta: lease.meta.as_deref().and_then(|meta| serde_json::from_str(meta).ok()),
        };
        let shares = lease.mode != Mode::Exclusive;
        HolderView { owner: Some(&lease.owner.id), state: shares.then(|| state_of_lease(lease)), known }
    }
}

impl<'a> HolderView<'a> {
    /// For a row that says the state itself.
    pub fn in_a_row(lease: &'a Lease) -> HolderView<'a> {
        HolderView { state: None, ..HolderView::from(lease) }
    }
}

impl<'a> From<&'a Holder> for HolderView<'a> {
    fn from(holder: &'a Holder) -> HolderView<'a> {
        let known = match holder {
            Holder::Lease(lease) => return HolderView::from(&**lease),
            Holder::Shared(sharing) => match sharing.leases.first() {
                Some(lease) => return HolderView::from(lease),
                None => Known::Nothing {},
            },
            Holder::Stranger(Some(Expiry { valid_until_ms, valid_for_ms }))
            | Holder::Queue(Expiry { valid_until_ms, valid_for_ms })
            | Holder::Hidden(Hidden { expiry: Expiry { valid_until_ms, valid_for_ms }, .. }) => {
                Known::Expiry { valid_for_ms: *valid_for_ms, valid_until: rfc3339(*valid_until_ms) }
            }
            Holder::Stranger(None) => Known::Nothing {},
        };
        HolderView { owner: None, state: None, known }
    }
}
