//! Limits of addresses, over several shards.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::client::{Client, PATIENCE, Stream};
use crate::server::TestServer;

/// A client whose address is `127.0.0.last`.
fn client_from(last: u8, server: &TestServer) -> Client {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
    let SocketAddr::V4(listen) = server.listen else { panic!("tests listen on 127.0.0.1") };
    connect(&socket, &listen).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client::over(Stream::Plain(stream))
}

/// Asserts that a client may stay.
#[track_caller]
fn check_welcome(client: &mut Client) {
    client.send("{\"msg\":\"time\"}\n");
    assert_eq!(client.json()["msg"], "time");
}

#[test]
fn an_address_is_counted_over_all_shards() {
    let config = "[limits]\nconnections_per_address_max = 6\n";
    let server = TestServer::start_with(2, config);
    // The kernel deals connections out to shards as it likes; each address is counted once.
    let mut kept = Vec::new();
    for last in 2..6 {
        for _ in 0..6 {
            let mut client = client_from(last, &server);
            check_welcome(&mut client);
            kept.push(client);
        }
    }
    let closes = "reason=\"too-many-connections\"";
    for (refused, last) in (1..).zip(2..6) {
        let mut client = client_from(last, &server);
        client.rest_contains("limits.connections_per_address_max");
        server.metric_becomes("warren_closes_total", closes, refused);
    }
    drop(kept);
    server.metric_becomes("warren_addresses", "", 0);
    for last in 2..6 {
        check_welcome(&mut client_from(last, &server));
    }
    server.stop();
}

#[test]
fn an_address_logs_in_so_often_over_all_shards() {
    let config = "[limits]\nlogins_per_minute_per_address = 3\n";
    let server = TestServer::start_with(2, config);
    for last in [2, 3] {
        for index in 0..3 {
            let mut client = client_from(last, &server);
            client.send(format!("{{\"msg\":\"login\",\"user\":\"u{last}-{index}\"}}\n"));
            client.reply("login");
        }
        let mut client = client_from(last, &server);
        client.send("{\"msg\":\"login\",\"user\":\"late\"}\n");
        client.rest_contains("limits.logins_per_minute_per_address");
    }
    server.metric_becomes("warren_closes_total", "reason=\"login-rate\"", 2);
    server.stop();
}
