//! One message in a body of gRPC: whether it is compressed, its length, and its bytes. Every call here has one message
//! each way.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// Bytes before a message: one that says whether it is compressed, four with its length.
const PREFIX: usize = 5;

/// Why a body is not one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the request has no message")]
    Missing,
    #[error("the message is compressed; lockside takes `identity` alone")]
    Compressed,
    #[error("the message is cut off")]
    CutOff,
    #[error("the request has more than one message")]
    Several,
    #[error("the message is no protobuf of this call")]
    Malformed,
}

/// The message of a body.
pub fn read<M: Message + Default>(mut body: Bytes) -> Result<M, FrameError> {
    if body.is_empty() {
        return Err(FrameError::Missing);
    }
    if body.len() < PREFIX {
        return Err(FrameError::CutOff);
    }
    let (is_compressed, length) = (body.get_u8(), body.get_u32() as usize);
    match body.len() {
        _ if is_compressed != 0 => Err(FrameError::Compressed),
        left if left < length => Err(FrameError::CutOff),
        left if left > length => Err(FrameError::Several),
        _ => M::decode(body).map_err(|_| FrameError::Malformed),
    }
}

/// A body with this message.
pub fn write(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut body = BytesMut::with_capacity(PREFIX + length);
    body.put_u8(0);
    body.put_u32(u32::try_from(length).expect("a short message"));
    message.encode(&mut body).expect("room for its length");
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::super::messages::{TryLockRequest, TryLockResponse};
    use super::*;

    fn request() -> TryLockRequest {
        TryLockRequest {
            store_name: "s".to_owned(),
            resource_id: "r".to_owned(),
            lock_owner: "o".to_owned(),
            expiry_in_seconds: 60,
        }
    }

    #[test]
    fn a_body_is_exactly_one_message() {
        let whole = write(&request());
        assert_eq!(read(whole.clone()), Ok(request()));
        assert_eq!(read::<TryLockRequest>(Bytes::new()), Err(FrameError::Missing));
        for end in 1..whole.len() {
            assert_eq!(read::<TryLockRequest>(whole.slice(..end)), Err(FrameError::CutOff), "{end}");
        }
        let twice = [whole.as_ref(), whole.as_ref()].concat();
        assert_eq!(read::<TryLockRequest>(twice.into()), Err(FrameError::Several));
        let compressed = [&[1], &whole[1..]].concat();
        assert_eq!(read::<TryLockRequest>(compressed.into()), Err(FrameError::Compressed));
    }

    #[test]
    fn protobuf_is_read_as_its_specification_says() {
        let of = |message: &[u8]| {
            let length = u8::try_from(message.len()).expect("a short message");
            read::<TryLockRequest>([&[0, 0, 0, 0, length], message].concat().into())
        };
        let seconds = |message: &[u8]| of(message).map(|request| request.expiry_in_seconds);
        assert_eq!(seconds(b"\x20\x3c"), Ok(60));
        assert_eq!(seconds(b"\x20\x3c\x20\x01"), Ok(1), "the last of a repeated field");
        assert_eq!(seconds(b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Ok(-1), "ten bytes of a negative one");
        assert_eq!(seconds(b"\x20\x81\x80\x80\x80\x10"), Ok(1), "the low 32 bits");
        assert_eq!(seconds(b"\x28\x07\x20\x3c\x32\x01x"), Ok(60), "unknown fields");
        for bad in [&b"\x0a\x01\xff"[..], b"\x0a\x05x", b"\x20", b"\x25\x01\x00\x00\x00", b"\x00"] {
            assert_eq!(of(bad), Err(FrameError::Malformed), "{bad:x?}");
        }
    }

    #[test]
    fn what_is_false_or_zero_is_not_written() {
        assert_eq!(write(&TryLockResponse { success: false }).as_ref(), b"\0\0\0\0\0");
        assert_eq!(write(&TryLockResponse { success: true }).as_ref(), b"\0\0\0\0\x02\x08\x01");
    }
}
