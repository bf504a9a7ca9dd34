//! The demo's pages: a chat, and a world to walk in, over the client library, embedded in the binary
//! and served under `/demo` of the admin endpoint. The browser loads the client's modules as they are, so nothing has to be
//! built for it.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// A file of the page: path, type and content.
type PageFile = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A module of the client library.
macro_rules! client_module {
    ($name:literal) => {
        (
            concat!("/demo/client/", $name),
            SCRIPT,
            include_str!(concat!("../clients/typescript/dist/", $name)),
        )
    };
}

const FILES: &[PageFile] = &[
    ("/demo", "text/html; charset=utf-8", include_str!("demo_page/index.html")),
    ("/demo/style.css", "text/css; charset=utf-8", include_str!("demo_page/style.css")),
    ("/demo/chat.css", "text/css; charset=utf-8", include_str!("demo_page/chat.css")),
    ("/demo/icon.svg", "image/svg+xml", include_str!("demo_page/icon.svg")),
    ("/demo/page.js", SCRIPT, include_str!("demo_page/page.js")),
    ("/demo/door.mjs", SCRIPT, include_str!("demo_page/door.mjs")),
    ("/demo/comeback.mjs", SCRIPT, include_str!("demo_page/comeback.mjs")),
    ("/demo/world", "text/html; charset=utf-8", include_str!("demo_page/world.html")),
    ("/demo/world.css", "text/css; charset=utf-8", include_str!("demo_page/world.css")),
    ("/demo/world.js", SCRIPT, include_str!("demo_page/world.js")),
    ("/demo/scene.mjs", SCRIPT, include_str!("demo_page/scene.mjs")),
    ("/demo/steering.mjs", SCRIPT, include_str!("demo_page/steering.mjs")),
    client_module!("backoff.js"),
    client_module!("calls.js"),
    client_module!("client.js"),
    client_module!("connection.js"),
    client_module!("error.js"),
    client_module!("index.js"),
    client_module!("listeners.js"),
    client_module!("message.js"),
    client_module!("session.js"),
    client_module!("transport.js"),
    client_module!("view.js"),
    client_module!("world.js"),
];

/// The routes of the page of a server whose clients connect to this address.
pub(crate) fn routes<State>(listen: SocketAddr) -> Router<State>
where
    State: Clone + Send + Sync + 'static,
{
    let answer = move |request: Request| {
        let response = respond(request.uri().path(), request.headers(), listen.port());
        async { response }
    };
    Router::new().route("/demo", get(answer)).route("/demo/{*path}", get(answer))
}

fn respond(path: &str, headers: &HeaderMap, port: u16) -> Response {
    // What the page has to know of its server.
    let config = format!("{{\"port\":{port}}}\n");
    let (kind, content) = match FILES.iter().find(|(name, _, _)| *name == path) {
        Some((_, kind, content)) => (*kind, (*content).to_owned()),
        None if path == "/demo/config.json" => ("application/json", config),
        None => return StatusCode::NOT_FOUND.into_response(),
    };
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_SECURITY_POLICY, policy(headers, port)),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        // A server that was started anew may have another page.
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, content).into_response()
}

/// The page may load its own files, and connect to the game port of the host that it came from.
fn policy(headers: &HeaderMap, port: u16) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    // A policy has no form for an IPv6 address.
    let name = if !name.is_empty() && name.bytes().all(is_plain) { name } else { "*" };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self' ws://{name}:{port} wss://{name}:{port}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests;
