//! What of each protocol sessions need: their names and tokens, and the request to go on with one.

use warren_core::message::{Message, Value, packed};
use warren_net::gateway::binary::encode_request;

use super::{Frame, Protocol, Request, Wire};

/// What a server tells of a session when a login or a resume is granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass<'a> {
    /// The session's name: the answer to a login has it.
    pub session: Option<&'a str>,
    /// By which it is resumed the next time.
    pub token: &'a str,
    /// Messages that follow because they were missed.
    pub replayed: u64,
}

impl<'a> Frame<'a> {
    /// The same frame of a message with these fields: a granted login or resume with a token has a
    /// session.
    #[must_use]
    pub(super) fn with_pass(
        self,
        session: Option<&'a str>,
        token: Option<&'a str>,
        replayed: Option<u64>,
    ) -> Self {
        match (self, token) {
            (
                Self::Reply {
                    request: request @ (Request::Login | Request::Resume),
                    status: 0,
                    ..
                },
                Some(token),
            ) => {
                let pass = Pass { session, token, replayed: replayed.unwrap_or(0) };
                Self::Session { request, pass }
            }
            _ => self,
        }
    }

    /// Whether the message is one of those that both sides of a session count.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        match self {
            Self::Heard { .. }
            | Self::Entered { .. }
            | Self::Made { .. }
            | Self::Presence
            | Self::Numbered { .. }
            | Self::Other => true,
            Self::Reply { request, .. } => {
                matches!(request, Request::Create | Request::Join | Request::Say | Request::Set)
            }
            Self::Session { .. }
            | Self::World(_)
            | Self::Found { .. }
            | Self::Heartbeat
            | Self::Closed { .. }
            | Self::Aside => false,
        }
    }
}

impl Wire {
    /// Appends the request to go on with a session of which so many messages were heard. The floor has
    /// none.
    pub fn resume(self, session: &str, token: &str, received: u64, out: &mut Vec<u8>) {
        self.request(out, |out| match self {
            Self::Server(Protocol::Binary | Protocol::WebsocketBinary) => {
                let received = i64::try_from(received).expect("nobody hears so much");
                let fields = [
                    ("session", Value::Text(session)),
                    ("token", Value::Text(token)),
                    ("received", Value::Integer(received)),
                ];
                encode_request(Message::from_checked(&packed("resume", &fields)), out);
            }
            Self::Server(Protocol::Connserver) => {
                let fields = format!("received:{received}\nsession:{session}\ntoken:{token}");
                out.extend_from_slice(format!("msg:resume\n{fields}\n\0").as_bytes());
            }
            Self::Server(Protocol::Json | Protocol::WebsocketJson) => {
                let fields = format!(
                    "\"session\":\"{session}\",\"token\":\"{token}\",\"received\":{received}"
                );
                out.extend_from_slice(format!("{{\"msg\":\"resume\",{fields}}}\n").as_bytes());
            }
            Self::Server(Protocol::Xml) => {
                let fields =
                    format!("session=\"{session}\" token=\"{token}\" received=\"{received}\"");
                out.extend_from_slice(format!("<msg method=\"resume\" {fields}/>\0").as_bytes());
            }
            Self::Floor(_) => panic!("the floor has no sessions"),
        });
    }
}

/// Why a server closed a connection that it never knew the protocol of: it says so in JSON.
#[must_use]
pub fn closed_in_json(bytes: &[u8]) -> Option<&str> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    match super::json::read(line)? {
        Frame::Closed { reason } => Some(reason),
        _ => None,
    }
}
