//! How the answers of the leases API are spelled: a lease, and a message.

use hyper::StatusCode;
use hyper::header::{CONTENT_LANGUAGE, HeaderValue, VARY};
use serde::Serialize;

use crate::api::language::Language;
use crate::api::wire::{json, rfc3339};
use crate::lock::{Lease, Owner, OwnerKind, Token};
use crate::server::Response;

/// LeasableLockDto.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseDto<'a> {
    key: &'a str,
    token: Token,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserDto<'a>>,
    locked_by_system: bool,
    valid_until: String,
}

/// ApiObjectReference.
#[derive(Serialize)]
struct UserDto<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    active: bool,
}

impl<'a> From<&'a Lease> for LeaseDto<'a> {
    fn from(lease: &'a Lease) -> LeaseDto<'a> {
        let Owner { kind, id, label, description, .. } = &lease.owner;
        let user = UserDto { id, label: label.as_deref(), description: description.as_deref(), active: true };
        LeaseDto {
            key: lease.key.as_str(),
            token: lease.token,
            user: (*kind == OwnerKind::User).then_some(user),
            locked_by_system: *kind == OwnerKind::System,
            valid_until: rfc3339(lease.valid_until_ms),
        }
    }
}

/// OperationMessage: the context is a code for machines, the value a sentence for people.
pub fn message(status: StatusCode, context: &str, text: &str, language: Language) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OperationMessage<'a> {
        context: &'a str,
        message_value: &'a str,
    }
    let mut response = json(status, &OperationMessage { context, message_value: text });
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Language"));
    response
}
