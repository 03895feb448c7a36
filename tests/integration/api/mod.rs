//! What callers see: the admin, leases, native and Dapr APIs, the OpenAPI document, browsers, and who may do what.

pub mod admin;
mod admin_requests;
mod browser;
mod cors;
mod dapr;
mod directory;
pub mod hold;
mod http;
mod identity;
mod leases;
mod lists;
mod native;
mod openapi;
mod page;
mod permits;
mod progress;
