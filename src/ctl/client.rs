//! Requests to the admin endpoint: HTTP/1.1 over TCP or a Unix socket, a connection each.

use core::fmt;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Failure;
use crate::admin::token::Token;
use crate::config::Endpoint;
use crate::fatal::{Fatal, FatalReason};

/// Longer than the server takes for any request.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// Longest answer; a page of rows has less.
const ANSWER_BYTES_MAX: usize = 4 << 20;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One endpoint, and what opens it.
pub(crate) struct AdminClient {
    pub(super) endpoint: Endpoint,
    pub(super) token: Option<Token>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// It did what it was asked for; else the body has `error` and `detail`.
    pub(super) is_done: bool,
    pub(super) body: Value,
}

impl Answer {
    /// What it says, if it did what it was asked for.
    pub(crate) fn done(self) -> Result<Value, Failure> {
        if self.is_done { Ok(self.body) } else { Err(Failure::Refused(self.body)) }
    }
}

/// What can be seen of a server from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Serving,
    Draining,
    /// Nobody listens.
    Gone,
    /// Something is there, and does not say what.
    Unclear,
}

impl AdminClient {
    /// Asks, and waits for the answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, Fatal> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let (status, text) = self.exchange(method, path, body).await?;
        let body: Value = serde_json::from_slice(&text).map_err(|_| self.no_answer(NO_ENDPOINT))?;
        if !status.is_success() && !body["error"].is_string() {
            return Err(self.no_answer(NO_ENDPOINT));
        }
        Ok(Answer { is_done: status.is_success(), body })
    }

    /// A number of `/metrics`, which everybody may read.
    pub(super) async fn metric(&self, name: &str) -> Result<u64, Fatal> {
        let (_, text) = self.exchange(Method::GET, "/metrics", String::new()).await?;
        let text = String::from_utf8_lossy(&text);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.and_then(|value| value.parse().ok());
        value.ok_or_else(|| self.no_answer(format_args!("it does not tell {name}")))
    }

    /// Looks whether the server is there, which everybody may.
    pub(super) async fn life(&self) -> Life {
        // A try of its own, since only its error tells that nobody listens.
        match tokio::time::timeout(ANSWER_WAIT, self.connect()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if is_nobody(&error) => return Life::Gone,
            _ => return Life::Unclear,
        }
        match self.exchange(Method::GET, "/readyz", String::new()).await {
            Ok((StatusCode::OK, _)) => Life::Serving,
            Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => Life::Draining,
            _ => Life::Unclear,
        }
    }

    /// There is no answer that could be told.
    pub(crate) fn no_answer(&self, detail: impl fmt::Display) -> Fatal {
        let detail = format!("{}: {detail}", self.endpoint);
        Fatal::new(FatalReason::ServiceUnavailable, detail)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), Fatal> {
        let exchanged = tokio::time::timeout(ANSWER_WAIT, async {
            let stream = self.connect().await.map_err(|error| self.no_answer(error))?;
            let request = self.request(method, path, body)?;
            let failed = |error: hyper::Error| self.no_answer(error);
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
            // Its errors are those of the request.
            let driver = tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(|error| self.no_answer(error))?;
            driver.abort();
            Ok((status, body.to_bytes()))
        });
        let late = format_args!("no answer within {} s", ANSWER_WAIT.as_secs());
        exchanged.await.unwrap_or_else(|_| Err(self.no_answer(late)))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Request<Full<Bytes>>, Fatal> {
        let host = match &self.endpoint {
            Endpoint::Tcp(address) => address.to_string(),
            Endpoint::Unix(_) => "localhost".to_owned(),
        };
        let mut request = Request::builder().method(method).uri(path).header(HOST, host);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            let value = format!("Bearer {}", token.secret());
            let mut value = HeaderValue::from_str(&value).expect("a token is printable ASCII");
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(body.into())).map_err(|error| self.no_answer(error))
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.endpoint {
            Endpoint::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

const NO_ENDPOINT: &str = "what answers there is no admin endpoint of Warren";

/// The path with these parameters behind it.
pub(super) fn path_with<'a>(
    path: &str,
    parameters: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    use core::fmt::Write as _;
    let mut text = path.to_owned();
    for (index, (name, value)) in parameters.enumerate() {
        let mark = if index == 0 { '?' } else { '&' };
        let _ = write!(text, "{mark}{name}=");
        for byte in value.bytes() {
            let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let _ = if is_plain {
                write!(text, "{}", char::from(byte))
            } else {
                write!(text, "%{byte:02X}")
            };
        }
    }
    text
}
