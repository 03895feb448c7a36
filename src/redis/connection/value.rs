//! The client library's values as answers.

use fred::types::Value;

use crate::redis::Reply;

impl From<Value> for Reply {
    fn from(value: Value) -> Reply {
        match value {
            Value::Null => Reply::Nil,
            Value::Integer(number) => Reply::Integer(number),
            Value::Boolean(flag) => Reply::Integer(flag.into()),
            Value::String(text) => Reply::Text(text.into_inner()),
            Value::Bytes(bytes) => Reply::Text(bytes),
            Value::Double(number) => Reply::Text(number.to_string().into()),
            Value::Array(values) => {
                // Room of its own: collected in place, the room of the library's larger values would have to shrink.
                let mut rows = Vec::with_capacity(values.len());
                rows.extend(values.into_iter().map(Reply::from));
                Reply::Rows(rows)
            }
            other => Reply::Text(format!("{other:?}").into()),
        }
    }
}
