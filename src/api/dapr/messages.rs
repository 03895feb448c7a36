//! The messages of Dapr's lock over gRPC, as `dapr/proto/runtime/v1/lock.proto` and `metadata.proto` have them; of the
//! metadata, what is answered here.

use prost::Message;

#[derive(Clone, PartialEq, Eq, Message)]
pub struct TryLockRequest {
    #[prost(string, tag = "1")]
    pub store_name: String,
    #[prost(string, tag = "2")]
    pub resource_id: String,
    #[prost(string, tag = "3")]
    pub lock_owner: String,
    #[prost(int32, tag = "4")]
    pub expiry_in_seconds: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct TryLockResponse {
    #[prost(bool, tag = "1")]
    pub success: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct UnlockRequest {
    #[prost(string, tag = "1")]
    pub store_name: String,
    #[prost(string, tag = "2")]
    pub resource_id: String,
    #[prost(string, tag = "3")]
    pub lock_owner: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct UnlockResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct GetMetadataRequest {}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetMetadataResponse {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, repeated, tag = "3")]
    pub registered_components: Vec<RegisteredComponent>,
    #[prost(string, tag = "8")]
    pub runtime_version: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct RegisteredComponent {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub r#type: String,
    #[prost(string, tag = "3")]
    pub version: String,
}
