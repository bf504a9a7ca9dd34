//! What clients of XMLSocket see, old and modern, byte for byte.

use crate::client::{Client, without_token};
use crate::server::TestServer;

const POLICY_REQUEST: &str = "<policy-file-request/>\0";

/// Reads exactly the expected frames.
#[track_caller]
fn expect(client: &mut Client, end: u8, expected: &str) {
    let mut received = String::new();
    while received.len() < expected.len() {
        received += &without_token(&String::from_utf8(client.frame(end)).unwrap());
    }
    assert_eq!(received, expected);
}

#[test]
fn a_flash_player_is_told_the_closed_policy() {
    let server = TestServer::start(1);
    for pieces in [vec![POLICY_REQUEST], POLICY_REQUEST.split_inclusive(|_| true).collect()] {
        let mut player = Client::connect(server.listen);
        for piece in pieces {
            player.send(piece);
        }
        assert_eq!(
            String::from_utf8(player.rest()).unwrap(),
            "<?xml version=\"1.0\"?><cross-domain-policy>\
             <site-control permitted-cross-domain-policies=\"none\"/></cross-domain-policy>\0"
        );
    }
    server.metric_becomes("warren_closes_total", "policy-request", 2);
    server.metric_becomes("warren_refusals_total", "", 0);
    server.stop();
}

#[test]
fn a_flash_player_is_told_the_configured_policy_and_may_then_play() {
    let policy = "<?xml version=\"1.0\"?>\n<cross-domain-policy>\n\
        <allow-access-from domain=\"*.example.org\" to-ports=\"7171\"/>\n</cross-domain-policy>\n";
    for fixed in ["", "fixed = \"xml\"\n"] {
        let config = format!("[protocol]\n{fixed}flash_policy = '''\n{policy}'''\n");
        let server = TestServer::start_with(1, &config);
        let mut player = Client::connect(server.listen);
        player.send(POLICY_REQUEST);
        assert_eq!(String::from_utf8(player.rest()).unwrap(), format!("{policy}\0"));
        let mut player = Client::connect(server.listen);
        player.send("<msg method=\"login\" user=\"ann\"/>\0");
        expect(
            &mut player,
            0,
            "<msg method=\"login\" object=\"12626.1\" session=\"0000000000000000\" status=\"0\"/>\0",
        );
        server.stop();
    }
}

#[test]
fn documents_come_joined_and_cut() {
    let server = TestServer::start(1);
    let document = "<msg method='chat' to='nobody' text='x'/>\0";
    let answer = "<msg error=\"not-logged-in\" method=\"chat\" status=\"401\"/>\0";
    let mut client = Client::connect(server.listen);
    client.send([document, document].concat());
    expect(&mut client, 0, &[answer, answer].concat());
    for at in 1..document.len() {
        let mut client = Client::connect(server.listen);
        client.send(&document[..at]);
        client.send(&document[at..]);
        expect(&mut client, 0, answer);
    }
    // A line end behind each NUL, or before the first frame, is skipped, also before declarations.
    let with_line_end = format!("\r\n <?xml version='1.0'?>{document}");
    let mut client = Client::connect(server.listen);
    client.send([with_line_end.as_str(), &with_line_end, "\n"].concat());
    expect(&mut client, 0, &[answer, answer].concat());
    // Blank frames are none, and what is no message leaves the connection open.
    client.send("\0 \n\0<msg/>\0<!DOCTYPE msg>\0");
    client.send(document);
    let refused =
        |reason: &str| format!("<msg error=\"{reason}\" method=\"error\" status=\"400\"/>\0");
    expect(&mut client, 0, &(refused("method-missing") + &refused("doctype") + answer));
    server.stop();
}

#[test]
fn users_of_xml_json_and_the_connserver_hear_each_other_byte_for_byte() {
    let server = TestServer::start(2);
    let mut xml = Client::connect(server.listen);
    xml.send("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<msg method=\"login\" user=\"xena\"/>\0");
    assert!(xml.text_frame().starts_with("<msg method=\"login\" "));
    xml.send("<msg msg:method='join'><room>r</room></msg>\0");
    expect(&mut xml, 0, "<msg members=\"1\" method=\"join\" room=\"r\" status=\"0\"/>\0");

    let mut json = Client::log_in(server.listen, "joe");
    json.send("{\"msg\":\"join\",\"room\":\"r\"}\n");
    expect(&mut json, b'\n', "{\"msg\":\"join\",\"status\":0,\"room\":\"r\",\"members\":2}\n");
    expect(&mut xml, 0, "<msg method=\"joined\" room=\"r\" seq=\"1\" user=\"joe\"/>\0");

    let mut old = Client::connect(server.listen);
    old.send("msg:login\nuser:olga\n\0");
    assert!(old.text_frame().starts_with("msg:login\n"));
    old.send("msg:join\nroom:r\n\0");
    expect(&mut old, 0, "members:3\nmsg:join\nroom:r\nstatus:0\n\0");
    expect(&mut xml, 0, "<msg method=\"joined\" room=\"r\" seq=\"2\" user=\"olga\"/>\0");
    expect(&mut json, b'\n', "{\"msg\":\"joined\",\"room\":\"r\",\"user\":\"olga\",\"seq\":2}\n");

    xml.send(
        "<msg method='chat' id='7' to='r'><text>a &lt; b &amp; \"c\"\n&#x1F407;</text></msg>\0",
    );
    expect(
        &mut xml,
        0,
        "<msg id=\"7\" method=\"chat\" seq=\"3\" status=\"0\"/>\0\
         <msg from=\"xena\" method=\"chat\" room=\"r\" seq=\"3\" \
         text=\"a &lt; b &amp; &#34;c&#34;&#10;🐇\"/>\0",
    );
    expect(
        &mut json,
        b'\n',
        "{\"msg\":\"chat\",\"room\":\"r\",\"from\":\"xena\",\
         \"text\":\"a < b & \\\"c\\\"\\n🐇\",\"seq\":3}\n",
    );
    expect(&mut old, 0, "from:xena\nmsg:chat\nroom:r\nseq:3\ntext:a < b & \"c\"%0A🐇\n\0");

    json.send("{\"msg\":\"chat\",\"to\":\"r\",\"text\":\"it's <b>\\t\\uffff\"}\n");
    expect(
        &mut xml,
        0,
        "<msg from=\"joe\" method=\"chat\" room=\"r\" seq=\"4\" \
         text=\"it's &lt;b>&#9;\u{fffd}\"/>\0",
    );
    expect(&mut old, 0, "from:joe\nmsg:chat\nroom:r\nseq:4\ntext:it's <b>\t\u{ffff}\n\0");

    old.send("msg:chat\nto:xena\ntext:psst\n\0");
    expect(&mut xml, 0, "<msg from=\"olga\" method=\"chat\" text=\"psst\" to=\"xena\"/>\0");

    xml.send("<msg method=\"who\" room=\"r\"/>\0");
    expect(
        &mut xml,
        0,
        "<msg method=\"who\" status=\"0\"><users><item>joe</item><item>olga</item>\
         <item>xena</item></users></msg>\0",
    );
    server.stop();
}

#[test]
fn xml_hears_the_heartbeat_and_the_end() {
    let server = TestServer::start_with(1, "[protocol]\nheartbeat_ms = 1000\n");
    let mut client = Client::connect(server.listen);
    client.send("<msg method=\"ping\"/>\0");
    assert!(client.text_frame().starts_with("<msg method=\"ping\" status=\"0\" time_ms=\""));
    expect(
        &mut client,
        0,
        "<msg method=\"pong\" status=\"0\"/>\0<msg method=\"pong\" status=\"0\"/>\0",
    );
    server.metric_becomes("warren_connections", "\"xml\"", 1);
    server.signal(15);
    let last = String::from_utf8(client.rest()).unwrap();
    assert!(
        last.ends_with("<msg error=\"draining\" method=\"closed\" status=\"503\"/>\0"),
        "{last:?}"
    );
    assert!(server.wait().success());
}
