//! Limits of addresses, over several shards.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use warren_net::proxy_header::PROXY_SIGNATURE;

use crate::admin::{TestFolder, serve};
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

/// What a proxy says of a client at `203.0.113.last`.
fn header_of(last: u8) -> Vec<u8> {
    let addresses = [[203, 0, 113, last], [127, 0, 0, 1]].concat();
    [PROXY_SIGNATURE, [0x21, 0x11, 0, 12].as_slice(), &addresses, &[0xc0, 1, 0x1c, 3]].concat()
}

#[test]
fn clients_behind_a_proxy_are_counted_and_banned_where_they_are() {
    let folder = TestFolder::new();
    let command = serve(&folder, "127.0.0.1:0");
    let config = std::fs::read_to_string(folder.0.join("warren.toml")).unwrap();
    let keys = "[protocol]\nproxies = [\"127.0.0.2\"]\n\
                [limits]\nconnections_per_address_max = 2\n";
    folder.file("warren.toml", &(config + keys));
    let server = TestServer::spawn(command);
    let proxied = |last| {
        let mut client = client_from(2, &server);
        client.send(header_of(last));
        client
    };
    // More connections of the proxy than one address may have.
    let mut mute: Vec<Client> = (0..6).map(|_| client_from(2, &server)).collect();
    let mut kept = Vec::new();
    for last in [7, 7, 8, 8] {
        let mut client = proxied(last);
        check_welcome(&mut client);
        kept.push(client);
    }
    for last in [7, 8] {
        proxied(last).rest_contains("limits.connections_per_address_max");
    }
    server.metric_becomes("warren_proxied_connections_total", "", 6);
    // Nobody else is believed, and a proxy has to say it.
    let mut spoofer = client_from(3, &server);
    spoofer.send(header_of(9));
    spoofer.rest_contains("unknown-protocol");
    let mut proxy = mute.pop().unwrap();
    proxy.send("{\"msg\":\"time\"}\n");
    proxy.rest_contains("proxy-invalid");
    server.metric_becomes("warren_closes_total", "reason=\"proxy-invalid\"", 1);

    kept[0].send("{\"msg\":\"login\",\"user\":\"ann\"}\n");
    assert_eq!(kept[0].reply("login")["status"], 0);
    let (_, page) = server.call("GET", "/api/sessions", "");
    assert_eq!(page["sessions"][0]["address"], "203.0.113.7", "{page}");
    let (status, _) = server.call("POST", "/api/ban", r#"{"address":"203.0.113.7"}"#);
    assert_eq!(status, 200);
    for client in &mut kept[..2] {
        assert_eq!(client.reply("closed")["error"], "banned");
    }
    assert_eq!(proxied(7).reply("closed")["error"], "banned");
    check_welcome(&mut kept[2]);
    drop((kept, mute));
    server.metric_becomes("warren_addresses", "", 0);
    server.stop();
}
