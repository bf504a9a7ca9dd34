//! A client of any protocol that resumes: requests are fields, and so is what it hears.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tungstenite::{ClientRequestBuilder, Message as Frame, WebSocket};
use warren_core::message::{Message, Value, packed};
use warren_net::gateway::binary::{self, ServerFrame};

use crate::client::{Client, Stream};
use crate::tls::secured;

/// Messages that belong to a connection, and not to its session: docs/protocol.md has the list.
const UNCOUNTED: [&str; 8] =
    ["hello", "login", "resume", "ping", "pong", "error", "closed", "frame"];

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Binary,
    Json,
    Xml,
    ConnserverA,
    ConnserverB,
    ConnserverC,
    WebsocketJson,
    WebsocketBinary,
}

impl Wire {
    pub(crate) const ALL: [Self; 8] = [
        Self::Binary,
        Self::Json,
        Self::Xml,
        Self::ConnserverA,
        Self::ConnserverB,
        Self::ConnserverC,
        Self::WebsocketJson,
        Self::WebsocketBinary,
    ];
}

/// How a client connects.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    pub(crate) wire: Wire,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// Something that the server said.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) method: String,
    fields: BTreeMap<String, String>,
}

impl Heard {
    /// A field as text, empty if it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name)?.parse().ok()
    }

    /// Whether client and server count it for `resume`.
    pub(crate) fn is_counted(&self) -> bool {
        !UNCOUNTED.contains(&self.method.as_str())
    }

    fn new(mut fields: BTreeMap<String, String>, method: &str) -> Self {
        let method = fields.remove(method).expect("every message has a method");
        Self { method, fields }
    }

    fn from_json(bytes: &[u8]) -> Self {
        let object: serde_json::Map<_, _> = serde_json::from_slice(bytes).unwrap();
        let text = |value: serde_json::Value| value.as_str().map_or(value.to_string(), Into::into);
        let fields = object.into_iter().map(|(name, value)| (name, text(value))).collect();
        Self::new(fields, "msg")
    }

    /// Attributes alone: a test has no use for lists here.
    fn from_xml(frame: &str) -> Self {
        let attributes = frame.strip_prefix("<msg ").and_then(|rest| rest.strip_suffix("\"/>\0"));
        let attributes = attributes.expect("an element of attributes");
        let fields = attributes.split("\" ").map(|pair| pair.split_once("=\"").unwrap());
        Self::new(fields.map(|(name, value)| (name.into(), value.into())).collect(), "method")
    }

    fn from_connserver(frame: &str, separator: char, end: char, last: &str) -> Self {
        let pairs = frame.strip_suffix(last).expect("the dialect's end").split(end);
        let fields = pairs.map(|pair| pair.split_once(separator).unwrap());
        Self::new(fields.map(|(name, value)| (name.into(), value.into())).collect(), "msg")
    }

    fn from_binary(frame: &[u8]) -> Self {
        match binary::read_server_frame(frame) {
            ServerFrame::Heard { sequence, room, from, text } => {
                let fields = [("room", room), ("from", from), ("text", text)];
                let mut fields: BTreeMap<String, String> =
                    fields.map(|(name, value)| (name.into(), value.into())).into();
                fields.insert("seq".into(), sequence.to_string());
                Self { method: "chat".into(), fields }
            }
            ServerFrame::Message(message) => {
                let text = |value| match value {
                    Value::Text(text) => text.to_owned(),
                    Value::Integer(integer) => integer.to_string(),
                    Value::Object(object) => object.to_string(),
                    other => panic!("{other:?} in a test without such values"),
                };
                let fields = message.fields().map(|(name, value)| (name.to_owned(), text(value)));
                Self { method: message.method().into(), fields: fields.collect() }
            }
            ServerFrame::World(frame) => panic!("{frame:?} in a test without worlds"),
            ServerFrame::Faulty(reason) => panic!("{reason:?}: {}", frame.escape_ascii()),
        }
    }
}

#[derive(Debug)]
enum Link {
    Stream(Client),
    Websocket(Box<WebSocket<Stream>>),
}

/// A connection that speaks a protocol.
#[derive(Debug)]
pub(crate) struct AnyClient {
    wire: Wire,
    link: Link,
}

impl AnyClient {
    pub(crate) fn connect(way: &Way) -> Self {
        let stream = Stream::connect(way.address);
        let stream = match &way.tls {
            None => Stream::Plain(stream),
            Some(config) => Stream::Secure(Box::new(secured(stream, config))),
        };
        let subprotocol = match way.wire {
            Wire::WebsocketJson => "warren.json",
            Wire::WebsocketBinary => "warren.binary",
            wire => {
                let mut client = Client::over(stream);
                if wire == Wire::Binary {
                    client.send("WRN1");
                }
                return Self { wire, link: Link::Stream(client) };
            }
        };
        let uri = format!("ws://{}/", way.address).parse().unwrap();
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(subprotocol);
        let (socket, _) = tungstenite::client(request, stream).expect("it is upgraded");
        Self { wire: way.wire, link: Link::Websocket(Box::new(socket)) }
    }

    /// Sends a request of texts and integers.
    pub(crate) fn request(&mut self, method: &str, fields: &[(&str, Value<'_>)]) {
        let bytes = self.encode(method, fields);
        match (&mut self.link, self.wire) {
            (Link::Stream(client), _) => client.send(bytes),
            (Link::Websocket(socket), Wire::WebsocketJson) => {
                socket.send(Frame::text(String::from_utf8(bytes).unwrap())).unwrap();
            }
            (Link::Websocket(socket), _) => socket.send(Frame::binary(bytes)).unwrap(),
        }
    }

    fn encode(&self, method: &str, fields: &[(&str, Value<'_>)]) -> Vec<u8> {
        let text = |value: &Value<'_>| match value {
            Value::Text(text) => (*text).to_owned(),
            Value::Integer(integer) => integer.to_string(),
            other => panic!("{other:?}"),
        };
        let join = |pair: &dyn Fn(&str, &str) -> String, between: &str| {
            let pairs = fields.iter().map(|(name, value)| pair(name, &text(value)));
            pairs.collect::<Vec<_>>().join(between)
        };
        match self.wire {
            Wire::Binary => {
                let mut bytes = Vec::new();
                let message = packed(method, fields);
                binary::encode_request(Message::parse(&message).unwrap(), &mut bytes);
                bytes
            }
            Wire::WebsocketBinary => [&[1], packed(method, fields).as_slice()].concat(),
            Wire::Json | Wire::WebsocketJson => {
                let mut object = serde_json::Map::from_iter([("msg".into(), method.into())]);
                for (name, value) in fields {
                    let value = match value {
                        Value::Integer(integer) => (*integer).into(),
                        other => text(other).into(),
                    };
                    object.insert((*name).into(), value);
                }
                let end = if self.wire == Wire::Json { "\n" } else { "" };
                (serde_json::Value::from(object).to_string() + end).into_bytes()
            }
            Wire::Xml => {
                let attributes = join(&|name, value| format!("{name}=\"{value}\""), " ");
                format!("<msg method=\"{method}\" {attributes}/>\0").into_bytes()
            }
            Wire::ConnserverA => {
                let pairs = join(&|name, value| format!("&{name}={value}"), "");
                format!("msg={method}{pairs}~").into_bytes()
            }
            Wire::ConnserverB => {
                let pairs = join(&|name, value| format!(",{name}:{value}"), "");
                format!("msg:{method}{pairs}~").into_bytes()
            }
            Wire::ConnserverC => {
                let pairs = join(&|name, value| format!("{name}:{value}\n"), "");
                format!("msg:{method}\n{pairs}\0").into_bytes()
            }
        }
    }

    /// The next thing that the server says, heartbeats too.
    pub(crate) fn hear(&mut self) -> Heard {
        let client = match &mut self.link {
            Link::Stream(client) => client,
            Link::Websocket(socket) => {
                let bytes = socket.read().expect("the server says something").into_data();
                return match self.wire {
                    Wire::WebsocketJson => Heard::from_json(&bytes),
                    _ => Heard::from_binary(&bytes),
                };
            }
        };
        if self.wire == Wire::Binary {
            let (kind, payload) = client.binary_frame();
            return Heard::from_binary(&[&[kind], payload.as_slice()].concat());
        }
        let end = if self.wire == Wire::Json { b'\n' } else { 0 };
        let frame = String::from_utf8(client.frame(end)).unwrap();
        match self.wire {
            Wire::Json => Heard::from_json(frame.as_bytes()),
            Wire::Xml => Heard::from_xml(&frame),
            Wire::ConnserverA => Heard::from_connserver(&frame, '=', '&', "~\0"),
            Wire::ConnserverB => Heard::from_connserver(&frame, ':', ',', "~\0"),
            _ => Heard::from_connserver(&frame, ':', '\n', "\n\0"),
        }
    }

    /// The next thing of this method; others are passed over.
    pub(crate) fn hear_of(&mut self, method: &str) -> Heard {
        loop {
            let heard = self.hear();
            if heard.method == method {
                return heard;
            }
        }
    }

    /// Says that no more will be sent, and leaves the connection open.
    pub(crate) fn close_sending(&mut self) {
        match &mut self.link {
            Link::Stream(client) => client.close_sending(),
            Link::Websocket(socket) => socket.get_ref().close_sending(),
        }
    }
}
