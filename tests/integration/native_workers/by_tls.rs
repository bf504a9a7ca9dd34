//! Workers of native libraries whose server wants TLS.

use std::io::{BufRead, BufReader, Write};

use super::*;
use crate::client::Stream;
use crate::tls::{Files, secured, trusting};

/// A client's way to a server by TLS, as ann, who has a counter.
struct SecureClient(Box<dyn FnMut(&Value) -> Value>);

impl SecureClient {
    fn log_in(
        server: &TestServer,
        certificate: &rustls::pki_types::CertificateDer<'static>,
    ) -> Self {
        let stream = secured(Stream::connect(server.listen), &trusting(certificate));
        let mut stream = BufReader::new(stream);
        let mut client = Self(Box::new(move |request| {
            stream.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
            loop {
                let mut line = String::new();
                assert!(stream.read_line(&mut line).unwrap() > 0, "the connection ended");
                let answer: Value = serde_json::from_str(&line).unwrap();
                if answer["msg"] == request["msg"] {
                    return answer;
                }
            }
        }));
        assert_eq!((client.0)(&json!({"msg": "login", "user": "ann"}))["status"], 0);
        client
    }

    fn counter(&mut self) -> Value {
        (self.0)(&json!({"msg": "create", "kind": "counter", "n": 0}))["object"].clone()
    }
}

#[test]
fn a_worker_of_the_configuration_connects_by_tls_where_that_is_required() {
    let library = faults();
    let file = library.path();
    let files = Files::new(&format!("required = true\n[workers.game]\nfile = {file:?}\n"));
    let certificate = files.renew();
    let mut server = TestServer::spawn(files.command("serve"));
    server.logged("a worker works");
    let mut client = SecureClient::log_in(&server, &certificate);
    let target = client.counter();
    for n in 1..50 {
        let answer = (client.0)(&json!({"msg": "work.do", "target": target}));
        assert_eq!((&answer["status"], &answer["n"]), (&0.into(), &n.into()), "{answer}");
    }
    // As much as a frame holds, in several records.
    let long = "x".repeat(60_000);
    let request = json!({"msg": "work.do", "target": target, "text": long, "fault": "echo"});
    let answer = (client.0)(&request);
    assert_eq!(answer["text"].as_str().map(str::len), Some(60_000), "{answer}");
    server.stop();
}

#[test]
fn a_worker_by_hand_trusts_whom_its_file_names_and_nobody_else() {
    let library = faults();
    let files = Files::new(&format!("{OPEN}[tasks]\nmethods = [\"work.do\", \"work.slowly\"]\n"));
    let certificate = files.renew();
    let server = TestServer::spawn(files.command("serve"));
    let other = Files::new("");
    other.renew();
    let [trusted, others] = [&files, &other].map(|files| files.certificate_path().to_owned());
    let named = format!("tls://localhost:{}", server.listen.port());
    let unnamed = format!("tls://{}", server.listen);
    for (url, ca_file, why) in [
        (&named, Some(&others), "invalid peer certificate"),
        (&named, None, "certificate"),
        (&unnamed, Some(&trusted), "not valid for name"),
        (&named, Some(&library.path().to_owned()), "no certificate in PEM form"),
    ] {
        let mut worker = ByHand::command(url, library.path());
        worker.env_remove("WARREN_CA_FILE").envs(ca_file.map(|path| ("WARREN_CA_FILE", path)));
        let mut worker = ByHand(worker.stderr(Stdio::piped()).spawn().unwrap());
        worker.told_instead_of_work(&["connect-failed: ", why]);
    }
    let mut worker = ByHand::command(&named, library.path());
    worker.env("WARREN_CA_FILE", &trusted);
    let mut worker = ByHand(worker.stderr(Stdio::piped()).spawn().unwrap());
    worker.told(&["the worker works"]);
    let mut client = SecureClient::log_in(&server, &certificate);
    let target = client.counter();
    let answer = (client.0)(&json!({"msg": "work.do", "target": target}));
    assert_eq!((&answer["status"], &answer["n"]), (&0.into(), &1.into()), "{answer}");
    send_signal(worker.0.id(), TERMINATE);
    assert_eq!(worker.0.wait().unwrap().code(), Some(0));
    server.stop();
}
