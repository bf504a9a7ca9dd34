//! Objects that are watched, and objects in rooms, over several shards and protocols.

use crate::client::Client;
use crate::rooms::clients_on_all_shards;
use crate::server::TestServer;

fn create(client: &mut Client, fields: &str) -> String {
    client.send(format!("{{\"msg\":\"create\",\"kind\":\"ball\",{fields}}}\n"));
    let reply = client.reply("create");
    assert_eq!(reply["status"], 0, "{reply}");
    reply["object"].as_str().unwrap().to_owned()
}

#[test]
fn watchers_on_all_shards_hear_every_version() {
    const CHANGES: u64 = 50;
    let server = TestServer::start_with(2, "[session]\ngrace_ms = 0\n");
    let mut clients = clients_on_all_shards(&server, 8);
    let object = create(&mut clients[0], "\"height\":0");
    for client in &mut clients {
        client.send(format!("{{\"msg\":\"watch\",\"object\":\"{object}\"}}\n"));
        let reply = client.reply("watch");
        assert_eq!((&reply["version"], &reply["height"]), (&1.into(), &0.into()), "{reply}");
    }
    server.metric_becomes("warren_watches", "", clients.len() as u64);
    for height in 1..=CHANGES {
        let set = format!("{{\"msg\":\"set\",\"object\":\"{object}\",\"height\":{height}}}\n");
        clients[0].send(set);
    }
    for client in &mut clients {
        for height in 1..=CHANGES {
            let change = client.heard("changed");
            let told = (&change["object"], &change["version"], &change["height"]);
            assert_eq!(told, (&(*object).into(), &(height + 1).into(), &height.into()));
        }
    }
    clients[1].send(format!("{{\"msg\":\"unwatch\",\"object\":\"{object}\"}}\n"));
    assert_eq!(clients[1].reply("unwatch")["status"], 0);
    clients.pop();
    let left = clients.len() as u64 - 1;
    server.metric_becomes("warren_watches", "", left);
    clients[0].send(format!("{{\"msg\":\"delete\",\"object\":\"{object}\"}}\n"));
    for (index, client) in clients.iter_mut().enumerate().filter(|(index, _)| *index != 1) {
        assert_eq!(client.heard("deleted")["object"], *object, "client {index}");
    }
    server.metric_becomes("warren_watches", "", 0);
    server.stop();
}

#[test]
fn what_is_removed_is_null_in_json_and_empty_in_text() {
    let server = TestServer::start(1);
    let mut json = Client::log_in(server.listen, "ann");
    let object = create(&mut json, "\"colour\":\"red\",\"partition\":9");
    let mut text = Client::connect(server.listen);
    text.send("msg=login&user=bob~\0");
    text.text_frame();
    text.send(format!("msg=watch&object={object}~\0"));
    let expected = "colour=red&kind=ball&msg=watch&object=9.1&owner=ann&status=0&version=1~\0";
    assert_eq!(text.text_frame(), expected);
    json.send(format!("{{\"msg\":\"watch\",\"object\":\"{object}\"}}\n"));
    json.reply("watch");
    json.send(format!("{{\"msg\":\"set\",\"object\":\"{object}\",\"colour\":null}}\n"));
    let change = json.heard("changed");
    assert!(change.as_object().unwrap()["colour"].is_null(), "{change}");
    assert_eq!(text.text_frame(), "colour=&msg=changed&object=9.1&version=2~\0");
    server.stop();
}

#[test]
fn a_room_hears_of_its_objects_in_its_order() {
    const CHANGES: u64 = 30;
    let server = TestServer::start(2);
    let mut clients = clients_on_all_shards(&server, 8);
    for client in &mut clients {
        client.join("court");
    }
    let object = create(&mut clients[0], "\"room\":\"court\",\"height\":0");
    for height in 1..=CHANGES {
        let set = format!("{{\"msg\":\"set\",\"object\":\"{object}\",\"height\":{height}}}\n");
        clients[0].send(set);
        let chat = format!("{{\"msg\":\"chat\",\"to\":\"court\",\"text\":\"{height}\"}}\n");
        clients[1].send(chat);
    }
    let mut orders = clients.iter_mut().map(|client| {
        let (mut order, mut heights, mut lines) = (vec![], 0, 0);
        while heights <= CHANGES || lines < CHANGES {
            let frame = client.json();
            if frame["room"] != "court" || !frame["status"].is_null() {
                continue;
            }
            match frame["msg"].as_str().unwrap() {
                "changed" => {
                    assert_eq!(frame["height"], heights, "{frame}");
                    assert_eq!(frame["version"], heights + 1, "{frame}");
                    heights += 1;
                }
                "chat" => lines += 1,
                _ => continue,
            }
            order.push(frame["seq"].as_u64().unwrap());
        }
        assert!(order.windows(2).all(|pair| pair[1] == pair[0] + 1), "{order:?}");
        order
    });
    let first = orders.next().unwrap();
    assert!(orders.all(|order| order == first));
    server.metric_becomes("warren_object_notices_total", "", CHANGES + 1);
    server.metric_becomes("warren_object_notices_dropped_total", "", 0);
    server.stop();
}
