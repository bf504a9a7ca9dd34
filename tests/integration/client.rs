//! Clients as a person with `nc` would be: bytes out, bytes in.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Heartbeats after which a test gives up waiting for something else.
const PONGS_MAX: usize = 4;
const NOTHING_BUT_PONGS: &str = "what is waited for comes before so many heartbeats";

/// A connection's bytes.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub(crate) fn connect(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Says that no more will be sent.
    pub(crate) fn close_sending(&self) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Secure(stream) => &stream.sock,
        };
        stream.shutdown(Shutdown::Write).unwrap();
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(bytes),
            Self::Secure(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

/// A connection that reads whole frames.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Stream,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(Stream::Plain(Stream::connect(address)))
    }

    pub(crate) fn over(stream: Stream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// A JSON client that is logged in.
    pub(crate) fn log_in(address: SocketAddr, user: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(format!("{{\"msg\":\"login\",\"user\":\"{user}\"}}\n"));
        assert_eq!(client.reply("login")["status"], 0, "{user}");
        client
    }

    /// The same at a server that may be gone.
    pub(crate) fn try_log_in(address: SocketAddr, user: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        let mut client = Self::over(Stream::Plain(stream));
        client.try_send(format!("{{\"msg\":\"login\",\"user\":\"{user}\"}}\n")).ok()?;
        (client.try_json()?["status"] == 0).then_some(client)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends to a server that may be gone.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends as much as the server takes before it closes.
    pub(crate) fn send_until_closed(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says that no more will be sent.
    pub(crate) fn close_sending(&mut self) {
        self.stream.close_sending();
    }

    /// Bytes up to and with `end`.
    pub(crate) fn frame(&mut self, end: u8) -> Vec<u8> {
        loop {
            if let Some(at) = self.received.iter().position(|byte| *byte == end) {
                return self.received.drain(..=at).collect();
            }
            assert!(self.read_more(), "closed while waiting; received {:?}", self.text());
        }
    }

    /// The next frame of one of the text dialects that is no heartbeat.
    pub(crate) fn text_frame(&mut self) -> String {
        let mut frames = (0..PONGS_MAX).map(|_| String::from_utf8(self.frame(0)).unwrap());
        frames.find(|frame| !frame.contains("pong")).expect(NOTHING_BUT_PONGS)
    }

    /// The next JSON frame that is no heartbeat.
    pub(crate) fn json(&mut self) -> Value {
        let mut frames =
            (0..PONGS_MAX).map(|_| serde_json::from_slice(&self.frame(b'\n')).unwrap());
        frames.find(|frame: &Value| frame["msg"] != "pong").expect(NOTHING_BUT_PONGS)
    }

    /// The next JSON frame of a server that may be gone.
    pub(crate) fn try_json(&mut self) -> Option<Value> {
        while !self.received.contains(&b'\n') {
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("the server answers in time: {error}"),
            }
        }
        Some(serde_json::from_slice(&self.frame(b'\n')).unwrap())
    }

    /// The next JSON frame of that method that has a status; others are passed over.
    pub(crate) fn reply(&mut self, method: &str) -> Value {
        loop {
            let frame = self.json();
            if frame["msg"] == method && !frame["status"].is_null() {
                return frame;
            }
        }
    }

    /// The next JSON frame of that method without a status: something heard.
    pub(crate) fn heard(&mut self, method: &str) -> Value {
        loop {
            let frame = self.json();
            if frame["msg"] == method && frame["status"].is_null() {
                return frame;
            }
        }
    }

    pub(crate) fn join(&mut self, room: &str) {
        self.send(format!("{{\"msg\":\"join\",\"room\":\"{room}\"}}\n"));
        assert_eq!(self.reply("join")["status"], 0, "{room}");
    }

    /// A frame of the binary protocol, kind and payload.
    pub(crate) fn binary_frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((length, rest)) = self.received.split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*length) as usize;
                if rest.len() >= length {
                    let frame: Vec<u8> = self.received.drain(..4 + length).skip(4).collect();
                    return (frame[0], frame[1..].to_vec());
                }
            }
            assert!(self.read_more(), "closed while waiting");
        }
    }

    /// What comes until the server closes has these words.
    #[track_caller]
    pub(crate) fn rest_contains(&mut self, words: &str) {
        while self.read_more() {}
        assert!(self.text().contains(words), "{:?}", self.text());
    }

    /// Everything until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.read_more() {}
        std::mem::take(&mut self.received)
    }

    fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.received)
    }

    fn read_more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes).expect("the server answers in time");
        self.received.extend_from_slice(&bytes[..count]);
        count > 0
    }
}

/// The frame without the token of a login, which nobody can foretell.
pub(crate) fn without_token(frame: &str) -> String {
    const DIGITS: usize = 32;
    let Some(at) = frame.find("token") else { return frame.to_owned() };
    // With what parts it from the field before, and in XML its quotes.
    let rest = &frame[at + "token".len()..];
    let quotes = usize::from(rest.starts_with("=\""));
    format!("{}{}", &frame[..at - 1], &rest[1 + DIGITS + 2 * quotes..])
}
