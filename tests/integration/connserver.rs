//! What a client of the original ConnServer sees, byte for byte.

use crate::client::{Client, without_token};
use crate::server::TestServer;

/// Sends the first and expects exactly the second, on one connection.
#[track_caller]
fn check(config: &str, dialogue: &[(&str, &str)]) {
    let server = TestServer::start_with(1, config);
    let mut client = Client::connect(server.listen);
    for (sent, expected) in dialogue {
        client.send(sent);
        let mut received = String::new();
        while received.len() < expected.len() {
            received += &without_token(&client.text_frame());
        }
        assert_eq!(received, *expected, "after {sent:?}");
    }
    server.stop();
}

#[test]
fn dialect_c_replies_with_the_request_s_fields_sorted() {
    check(
        "",
        &[
            (
                "msg:login\nplayer:ann@room1\npw:secret\n\0",
                "msg:login\nobject:12626.1\nplayer:ann@room1\nsession:0000000000000000\nstatus:0\n\0\
                 members:1\nmsg:join\nroom:room1\nstatus:0\n\0",
            ),
            (
                "msg:chat\nto:room1\ntext:hi\n\0",
                "msg:chat\nseq:1\nstatus:0\ntext:hi\nto:room1\n\0\
                 from:ann\nmsg:chat\nroom:room1\nseq:1\ntext:hi\n\0",
            ),
            ("msg:dance\nwith:me\n\0", "error:unknown-method\nmsg:dance\nstatus:404\nwith:me\n\0"),
        ],
    );
}

#[test]
fn dialects_a_and_b_end_messages_at_any_terminator_and_decode_percents() {
    check(
        "",
        &[
            (
                "msg=login&user=ann~",
                "msg=login&object=12626.1&session=0000000000000000&status=0&user=ann~\0",
            ),
            ("\r\nmsg=join&room=r\r\n", "members=1&msg=join&room=r&status=0~\0"),
            (
                "msg=chat&to=r&text=a%26b%7Ec=d:e,f\0",
                "msg=chat&seq=1&status=0&text=a%26b%7Ec=d:e,f&to=r~\0\
                 from=ann&msg=chat&room=r&seq=1&text=a%26b%7Ec=d:e,f~\0",
            ),
        ],
    );
    check(
        "",
        &[
            (
                "msg:login,user:ann\n",
                "msg:login,object:12626.1,session:0000000000000000,status:0,user:ann~\0",
            ),
            ("msg:join,room:r~\0", "members:1,msg:join,room:r,status:0~\0"),
        ],
    );
}

#[test]
fn the_heartbeat_is_the_original_s() {
    let server = TestServer::start_with(1, "[protocol]\nheartbeat_ms = 1000\n");
    let mut client = Client::connect(server.listen);
    client.send("msg:ping\n\0");
    assert!(client.text_frame().starts_with("msg:ping\nstatus:0\n"));
    assert_eq!(client.frame(0), b"msg:pong\nstatus:0\n\0");
    assert_eq!(client.frame(0), b"msg:pong\nstatus:0\n\0");
    server.stop();
}

#[test]
fn legacy_leaves_out_what_the_original_did_not_send() {
    check(
        "[protocol.connserver]\nlegacy = true\n",
        &[
            (
                "msg=login&user=ann~msg=join&room=room1~",
                "msg=login&object=12626.1&session=0000000000000000&status=0&user=ann~\0\
                 members=1&msg=join&room=room1&status=0~\0",
            ),
            (
                "msg=chat&to=room1&text=hi~",
                "msg=chat&status=0&text=hi&to=room1~\0from=ann&msg=chat&room=room1&text=hi~\0",
            ),
        ],
    );
}

#[test]
fn without_percent_encoding_text_is_as_raw_as_the_original_s() {
    for (config, heard) in
        [("", "text=A"), ("[protocol.connserver]\npercent = false\n", "text=%41")]
    {
        check(
            config,
            &[
                (
                    "msg=login&user=ann~msg=join&room=r~",
                    "msg=login&object=12626.1&session=0000000000000000&status=0&user=ann~\0\
                     members=1&msg=join&room=r&status=0~\0",
                ),
                (
                    "msg=chat&to=r&text=%41~",
                    &format!(
                        "msg=chat&seq=1&status=0&{heard}&to=r~\0\
                         from=ann&msg=chat&room=r&seq=1&{heard}~\0"
                    ),
                ),
            ],
        );
    }
}

#[test]
fn strict_closes_on_an_unknown_method() {
    let server = TestServer::start_with(1, "[protocol.connserver]\nstrict = true\n");
    let mut client = Client::connect(server.listen);
    client.send("msg=dance~");
    let last = String::from_utf8(client.rest()).unwrap();
    assert!(last.starts_with("error=unknown-method&msg=dance&status=404~\0"), "{last:?}");
    assert!(last.contains("msg=closed"), "{last:?}");
    server.stop();
}
