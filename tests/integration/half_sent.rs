//! Frames that come in pieces.

use crate::client::Client;
use crate::server::{TestServer, cpu_ticks};

#[test]
fn a_frame_sent_a_byte_at_a_time_makes_no_busy_loop() {
    let server = TestServer::start_with(
        1,
        "[protocol]\nheartbeat_ms = 1000\n[limits]\nlogin_ms = 600000\nframe_ms = 600000\n",
    );
    let mut slow = Client::connect(server.listen);
    let mut clock = Client::log_in(server.listen, "clock");
    let frame = b"msg:ping\nlong:some text that comes in single bytes\n\0";
    for byte in &frame[..frame.len() - 1] {
        slow.send([*byte]);
    }
    server.metric_becomes("warren_partial_frame_bytes", "", frame.len() as u64 - 1);
    // Two heartbeats of the connection beside it: two seconds with nothing to do.
    let pong = b"{\"msg\":\"pong\",\"status\":0}\n";
    while clock.frame(b'\n') != pong {}
    let (turns, ticks) = (server.metric("warren_turns_total", ""), cpu_ticks(server.pid()));
    while clock.frame(b'\n') != pong {}
    let turns = server.metric("warren_turns_total", "") - turns;
    let ticks = cpu_ticks(server.pid()) - ticks;
    println!("one second with a half-sent frame: {turns} turns, {ticks} clock ticks of CPU");
    // The reactor looks at its timers ten times a second; a busy loop makes millions of turns.
    assert!(turns < 100, "{turns} turns in a second without input");
    slow.send([0]);
    assert!(slow.text_frame().contains("long:some text that comes in single bytes\n"));
    server.metric_becomes("warren_partial_frame_bytes", "", 0);
    server.stop();
}

#[test]
fn a_client_that_closes_its_side_still_hears_the_answers() {
    // As `printf … | nc -N` does. With three shards some answers come from others.
    let server = TestServer::start_with(3, "[session]\ngrace_ms = 0\n");
    let mut listener = Client::log_in(server.listen, "listener");
    for index in 0..20 {
        let room = format!("room{index}");
        listener.join(&room);
        let mut client = Client::connect(server.listen);
        client.send(format!(
            "{{\"msg\":\"login\",\"user\":\"u{index}\"}}\n\
             {{\"msg\":\"join\",\"room\":\"{room}\"}}\n\
             {{\"msg\":\"chat\",\"to\":\"{room}\",\"text\":\"hi\"}}\n"
        ));
        client.close_sending();
        for method in ["login", "join", "chat"] {
            assert_eq!(client.reply(method)["status"], 0, "{method} of {index}");
        }
        client.rest();
        assert_eq!(listener.heard("chat")["text"], "hi");
        assert_eq!(listener.heard("left")["user"], format!("u{index}"));
    }
    server.stop();
}

#[test]
fn frames_may_be_cut_and_joined_anywhere() {
    let server = TestServer::start(1);
    let mut client = Client::connect(server.listen);
    let mut stream = String::new();
    for id in 0..50 {
        stream += &format!("{{\"msg\":\"ping\",\"id\":{id}}}\n");
    }
    for piece in stream.as_bytes().chunks(7) {
        client.send(piece);
    }
    for id in 0..50 {
        assert_eq!(client.reply("ping")["id"], id);
    }
    server.stop();
}
