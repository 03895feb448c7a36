//! What is on its way, in words, for a story.

use super::World;
use super::network::Request;
use crate::redis::Reply;

fn spelled(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace('\n', " ")
}

pub(super) fn of_reply(reply: &Reply) -> String {
    match reply {
        Reply::Array(parts) => parts.iter().map(of_reply).collect::<Vec<_>>().join(" "),
        Reply::Bulk(text) => spelled(text),
        Reply::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn of_request(request: &Request) -> String {
    format!("{} for {:?}", request.script, request.origin)
}

impl World {
    pub fn sent_first(&self, sidecar: usize) -> String {
        let first = self.sidecars[sidecar].connection.sent.front();
        first.map(|(request, _)| of_request(request)).unwrap_or_default()
    }

    pub fn answer_first(&self, sidecar: usize) -> String {
        let first = self.sidecars[sidecar].connection.answers.front();
        first.map(|(request, reply)| format!("{}: {}", request.script, of_reply(reply))).unwrap_or_default()
    }

    pub fn message_first(&self, sidecar: usize) -> String {
        self.sidecars[sidecar].connection.messages.front().map(|text| spelled(text)).unwrap_or_default()
    }

    pub fn late_first(&self, at: usize) -> String {
        self.late[at].front().map(|request| of_request(request)).unwrap_or_default()
    }
}
