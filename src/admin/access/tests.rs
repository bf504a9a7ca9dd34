use axum::http::HeaderName;

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn access(reach: Reach) -> Access {
    Access::new(reach, Some(Token::of_text(TOKEN).unwrap()), None)
}

#[test]
fn each_path_asks_for_what_its_ward_and_the_endpoint_s_reach_ask() {
    let right = format!("Bearer {TOKEN}");
    let wrong = format!("Bearer {}", TOKEN.replace('0', "1"));
    let reaches = [Reach::Socket, Reach::Loopback, Reach::Network];
    for (path, asks) in [
        ("/livez", [false, false, false]),
        ("/readyz", [false, false, false]),
        ("/metrics", [false, false, true]),
        ("/demo", [false, false, true]),
        ("/demo/page.js", [false, false, true]),
        ("/elsewhere", [false, false, true]),
        ("/api", [false, true, true]),
        ("/api/status", [false, true, true]),
        ("/api/none", [false, true, true]),
    ] {
        for (reach, asks) in reaches.into_iter().zip(asks) {
            let access = access(reach);
            let check = |pairs: &[(&'static str, &str)]| {
                access.check(path, &headers(pairs)).map_err(|error| error.word)
            };
            let without = if asks { Err(ErrorWord::Unauthorized) } else { Ok(()) };
            assert_eq!(check(&[]), without, "{path} {reach:?}");
            assert_eq!(check(&[("authorization", &wrong)]), without, "{path} {reach:?}");
            assert_eq!(check(&[("authorization", &right)]), Ok(()), "{path} {reach:?}");
        }
    }
}

#[test]
fn no_token_and_a_wrong_one_are_answered_alike() {
    let access = access(Reach::Loopback);
    let check = |value: &str| access.check("/api/status", &headers(&[("authorization", value)]));
    let without = access.check("/api/status", &headers(&[])).unwrap_err();
    for value in ["Bearer", "Bearer ", "Bearer x", "Basic YTpi", TOKEN, &format!("Basic {TOKEN}")] {
        assert_eq!(check(value), Err(without.clone()), "{value}");
    }
    assert_eq!(check(&format!("bearer  {TOKEN}")), Ok(()));
    // Where nobody has a token, none is right.
    let closed = Access::new(Reach::Loopback, None, None);
    let given = headers(&[("authorization", &format!("Bearer {TOKEN}"))]);
    assert_eq!(closed.check("/api/status", &given), Err(without));
    assert_eq!(closed.read_token_again(), None);
}

#[test]
fn another_token_holds_once_its_file_was_read_again() {
    let file = std::env::temp_dir().join(format!("warren-access-{}", std::process::id()));
    let write = |text: &str| {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let mut out =
            options.write(true).create(true).truncate(true).mode(0o600).open(&file).unwrap();
        std::io::Write::write_all(&mut out, text.as_bytes()).unwrap();
    };
    let older = Token::of_text(TOKEN).unwrap();
    let access = Access::new(Reach::Loopback, Some(older), Some(file.clone()));
    let check = |token: &str| {
        let given = headers(&[("authorization", &format!("Bearer {token}"))]);
        access.check("/api/status", &given).is_ok()
    };
    let newer = TOKEN.replace('0', "1");
    write(&newer);
    assert!(check(TOKEN) && !check(&newer));
    assert_eq!(access.read_token_again(), Some(Ok(())));
    assert!(!check(TOKEN) && check(&newer));
    write("short");
    assert!(access.read_token_again().unwrap().is_err());
    assert!(check(&newer));
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_web_page_is_not_answered() {
    let right = format!("Bearer {TOKEN}");
    let local = access(Reach::Loopback);
    let check = |path, host| {
        let given = headers(&[("authorization", &right), ("host", host)]);
        local.check(path, &given).map_err(|error| error.word)
    };
    for host in ["localhost", "LOCALHOST:7172", "127.0.0.1:7172", "[::1]:7172", "192.0.2.1"] {
        assert_eq!(check("/api/status", host), Ok(()), "{host}");
    }
    for host in ["evil.example", "evil.example:7172", "localhost.evil.example", "", "[evil]:7172"] {
        assert_eq!(check("/api/status", host), Err(ErrorWord::HostRefused), "{host}");
        assert_eq!(check("/metrics", host), Err(ErrorWord::HostRefused), "{host}");
        assert_eq!(check("/livez", host), Ok(()), "{host}");
    }
    for reach in [Reach::Socket, Reach::Loopback, Reach::Network] {
        let given = headers(&[("authorization", &right), ("origin", "http://localhost")]);
        let refused = access(reach).check("/api/kick", &given).unwrap_err();
        assert_eq!(refused.word, ErrorWord::OriginRefused, "{reach:?}");
    }
    // Elsewhere the machine has names, and everything asks for the token.
    let given = headers(&[("authorization", &right), ("host", "game.example:7172")]);
    assert_eq!(access(Reach::Network).check("/api/status", &given), Ok(()));
}

#[test]
fn refusals_are_told_in_the_log_once_in_a_while() {
    let access = access(Reach::Loopback);
    let untold = || access.refusals.lock().unwrap().untold;
    let refuse = |now_ns| access.log_refusal(now_ns, "/api/x", ErrorWord::Unauthorized);
    refuse(1);
    assert_eq!(untold(), 0);
    for now_ns in 2..1002 {
        refuse(now_ns);
    }
    assert_eq!(untold(), 1000);
    refuse(1 + REFUSAL_LINE_INTERVAL_NS);
    assert_eq!(untold(), 0);
}
