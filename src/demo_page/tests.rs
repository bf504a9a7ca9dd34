use axum::http::HeaderValue;

use super::*;

fn from(host: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))])
}

fn is_served(path: &str) -> bool {
    respond(path, &from("localhost:7172"), 7171).status() == StatusCode::OK
}

/// What stands between `before` and the next quote, wherever that occurs.
fn quoted<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap_or(rest))
}

#[test]
fn whatever_the_page_loads_is_served() {
    let mut loaded = 0;
    for (path, _, content) in FILES {
        let folder = path.rsplit_once('/').unwrap().0;
        let named = quoted(content, "src=\"").chain(quoted(content, "href=\""));
        let imported = quoted(content, "from \"./").map(|name| format!("{folder}/{name}"));
        let absolute = quoted(content, "from \"/").map(|name| format!("/{name}"));
        for wanted in named.map(str::to_owned).chain(imported).chain(absolute) {
            assert!(is_served(&wanted), "{path} loads {wanted}");
            loaded += 1;
        }
    }
    assert!(loaded > 10, "only {loaded} were found");
}

#[test]
fn nothing_else_is_served() {
    for path in ["/demo/", "/demo/client/socket.js", "/demo/../Cargo.toml", "/demo/page.js/"] {
        assert!(!is_served(path), "{path}");
    }
}

#[test]
fn the_page_may_connect_to_its_own_server_only() {
    for (host, allowed) in [
        ("127.0.0.1:7172", "ws://127.0.0.1:7171 wss://127.0.0.1:7171;"),
        ("play.example.org", "ws://play.example.org:7171 wss://play.example.org:7171;"),
        ("[::1]:7172", "ws://*:7171 wss://*:7171;"),
        ("a; script-src *", "ws://*:7171 wss://*:7171;"),
    ] {
        let policy = policy(&from(host), 7171);
        assert!(policy.contains(&format!("connect-src 'self' {allowed}")), "{host}: {policy}");
        assert_eq!(policy.matches("script-src").count(), 1, "{policy}");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    }
}

#[test]
fn every_answer_has_the_policy_and_its_type() {
    for path in FILES.iter().map(|file| file.0).chain(["/demo/config.json"]) {
        let response = respond(path, &from("localhost"), 7171);
        assert!(response.headers().contains_key(CONTENT_SECURITY_POLICY), "{path}");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
    }
}
