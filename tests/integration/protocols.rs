//! All protocols on one port, in one room.

use warren_core::message::{Message, Value};
use warren_net::gateway::binary::{encode_request, encode_say};

use crate::client::Client;
use crate::server::TestServer;

#[test]
fn users_of_every_protocol_meet_in_one_room() {
    let server = TestServer::start(2);
    let mut json = Client::log_in(server.listen, "json");
    let mut a = Client::connect(server.listen);
    a.send("msg=login&user=a\nmsg=join&room=r\n");
    let mut b = Client::connect(server.listen);
    b.send("msg:login,user:b~msg:join,room:r~");
    let mut c = Client::connect(server.listen);
    c.send("msg:login\nuser:c\n\0msg:join\nroom:r\n\0");
    let mut binary = Client::connect(server.listen);
    let mut bytes = b"WRN1".to_vec();
    let login = warren_core::message::packed("login", &[("user", Value::Text("binary"))]);
    encode_request(Message::parse(&login).unwrap(), &mut bytes);
    let join = warren_core::message::packed("join", &[("room", Value::Text("r"))]);
    encode_request(Message::parse(&join).unwrap(), &mut bytes);
    binary.send(&bytes);

    // Each hears its replies to login and join; only then is everyone in.
    for (client, open) in [(&mut a, "msg=login&"), (&mut b, "msg:login,"), (&mut c, "msg:login\n")]
    {
        let login = client.text_frame();
        assert!(login.contains(open) && login.contains("status"), "{login}");
        while !client.text_frame().contains("room") {}
    }
    for method in ["login", "join"] {
        let (kind, payload) = binary.binary_frame();
        let message = Message::parse(&payload).unwrap();
        assert_eq!((kind, message.method()), (1, method));
        assert_eq!(message.get("status"), Some(Value::Integer(0)));
    }
    json.join("r");

    let mut say = Vec::new();
    encode_say(0, "r", "grüße & 1,2:3~", &mut say);
    binary.send(&say);
    let heard = json.heard("chat");
    assert_eq!((&heard["from"], &heard["text"]), (&"binary".into(), &"grüße & 1,2:3~".into()));
    let seq = heard["seq"].as_u64().unwrap();
    for (client, expected) in [
        (&mut a, format!("from=binary&msg=chat&room=r&seq={seq}&text=grüße %26 1,2:3%7E~\0")),
        (&mut b, format!("from:binary,msg:chat,room:r,seq:{seq},text:grüße & 1%2C2:3%7E~\0")),
        (&mut c, format!("from:binary\nmsg:chat\nroom:r\nseq:{seq}\ntext:grüße & 1,2:3~\n\0")),
    ] {
        loop {
            let frame = client.text_frame();
            if frame.contains("chat") {
                assert_eq!(frame, expected);
                break;
            }
        }
    }
    c.send("msg:chat\nto:r\ntext:back\n\0");
    assert_eq!(json.heard("chat")["text"], "back");
    server.stop();
}

#[test]
fn a_fixed_listener_speaks_one_protocol() {
    let server = TestServer::start_with(1, "[protocol]\nfixed = \"connserver-b\"\n");
    let mut client = Client::connect(server.listen);
    client.send("msg:ping\n");
    assert!(client.text_frame().starts_with("msg:ping,status:0,time_ms:"));
    server.stop();
}

#[test]
fn ids_come_back_with_their_type() {
    let server = TestServer::start(1);
    let mut client = Client::connect(server.listen);
    client.send("{\"msg\":\"ping\",\"id\":7}\n{\"msg\":\"ping\",\"id\":\"7\"}\0");
    assert_eq!(client.reply("ping")["id"], 7);
    assert_eq!(client.reply("ping")["id"], "7");
    server.stop();
}
