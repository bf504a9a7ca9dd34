//! A connection of the binary protocol that blocks: requests go out together, answers come one by one.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use warren_core::message::{Message, Value, packed};
use warren_net::gateway::binary::{PREAMBLE, ServerFrame, decode_server_frame, encode_request};

/// Most bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
/// What is sent is taken, and what is asked once is answered, within this time.
const WAIT: Duration = Duration::from_secs(20);

/// A connection whose user is logged in.
pub(super) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
    buffer: Vec<u8>,
    output: Vec<u8>,
}

impl Wire {
    /// Connects, and logs in by the ticket.
    pub(super) fn open(address: SocketAddrV4, ticket: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WAIT))?;
        let buffer = vec![0; READ_BYTES];
        let mut wire = Self { stream, received: Vec::new(), buffer, output: PREAMBLE.to_vec() };
        wire.ask_once("login", &[("ticket", Value::Text(ticket))], |_| Ok(()))?;
        Ok(wire)
    }

    /// Adds a request to those that are sent next.
    pub(super) fn push(&mut self, method: &str, fields: &[(&str, Value<'_>)]) {
        encode_request(Message::from_checked(&packed(method, fields)), &mut self.output);
    }

    /// What is sent next.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends what was pushed.
    pub(super) fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.output).context("sending")?;
        self.output.clear();
        Ok(())
    }

    /// Waits for bytes, this long at most, and hands over each message that is whole; false when none
    /// came. What is added to the output is not sent yet.
    pub(super) fn receive(
        &mut self,
        wait: Duration,
        mut take: impl FnMut(Message<'_>, &mut Vec<u8>) -> Result<()>,
    ) -> Result<bool> {
        self.stream.set_read_timeout(Some(wait))?;
        let count = match self.stream.read(&mut self.buffer) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(error) => return Err(error).context("receiving"),
        };
        self.received.extend_from_slice(&self.buffer[..count]);
        let mut consumed = 0;
        while let Some((frame, length)) = decode_server_frame(&self.received[consumed..]) {
            if let ServerFrame::Message(message) = frame {
                if message.method() == "closed" {
                    let error = message.get("error").and_then(Value::as_text);
                    bail!("the server closes the connection: {}", error.unwrap_or("no reason"));
                }
                take(message, &mut self.output)?;
            }
            consumed += length;
        }
        self.received.drain(..consumed);
        Ok(true)
    }

    /// Asks, and waits for the answer, which has to be a good one.
    pub(super) fn ask_once<T>(
        &mut self,
        method: &str,
        fields: &[(&str, Value<'_>)],
        mut read: impl FnMut(Message<'_>) -> Result<T>,
    ) -> Result<T> {
        self.push(method, fields);
        self.send()?;
        let mut answer = None;
        while answer.is_none() {
            let has_come = self.receive(WAIT, |message, _| {
                if message.method() == method {
                    check_status(message)?;
                    answer = Some(read(message)?);
                }
                Ok(())
            })?;
            ensure!(has_come, "{method} is not answered");
        }
        answer.context("it was waited for")
    }
}

/// An answer has to be a good one.
pub(super) fn check_status(reply: Message<'_>) -> Result<()> {
    let status = reply.get("status").and_then(Value::as_integer);
    let error = reply.get("error").and_then(Value::as_text).unwrap_or("no reason");
    ensure!(status == Some(0), "{} is answered {status:?}: {error}", reply.method());
    Ok(())
}
