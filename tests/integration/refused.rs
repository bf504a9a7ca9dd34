//! Requests that are refused because too many came, over real sockets: client and server count their
//! answers alike, so a session is resumed as exactly as ever.

use warren_core::message::Value;

use crate::any_client::{Way, Wire};
use crate::client::Client;
use crate::resume::Resumer;
use crate::server::TestServer;

const BURST: usize = 20;
const REQUESTS: usize = 60;
/// Answers that the client seems not to have heard when its connection breaks.
const UNHEARD: u64 = 7;

#[test]
fn a_session_that_was_refused_hears_what_it_missed_and_nothing_else_over_any_protocol() {
    let limits = format!("[limits]\nmessages_per_s = 1\nmessages_burst = {BURST}\n");
    let server = TestServer::start_with(2, &limits);
    let mut speaker = Client::log_in(server.listen, "bob");
    speaker.join("r");
    for (index, wire) in Wire::ALL.into_iter().enumerate() {
        let way = Way { address: server.listen, wire, tls: None };
        let mut hearer = Resumer::log_in(way, &format!("user{index}"));
        hearer.join("r");
        for id in 0..REQUESTS {
            hearer.client.request("time", &[("id", Value::Integer(id as i64))]);
        }
        let answers: Vec<_> = (0..REQUESTS).map(|_| hearer.hear_of("time")).collect();
        let refused = answers.iter().filter(|answer| answer.text("error") == "message-rate");
        assert!(refused.count() > 0, "{wire:?}: {answers:?}");

        hearer.received -= UNHEARD;
        hearer.disconnect();
        speaker.send(format!("{{\"msg\":\"chat\",\"to\":\"r\",\"text\":\"line{index}\"}}\n"));
        assert_eq!(speaker.heard("chat")["text"], format!("line{index}"));
        assert_eq!(hearer.resume().0, UNHEARD + 1, "{wire:?}");
        for unheard in &answers[REQUESTS - UNHEARD as usize..] {
            let again = hearer.hear();
            assert_eq!(again.method, "time", "{wire:?}");
            assert_eq!(again.text("id"), unheard.text("id"), "{wire:?}");
            assert_eq!(again.text("error"), unheard.text("error"), "{wire:?}");
        }
        assert_eq!(hearer.hear().text("text"), format!("line{index}"), "{wire:?}");

        // One that was not run is run when it is sent again.
        hearer.client.request("time", &[("id", Value::Integer(REQUESTS as i64 - 1))]);
        assert_eq!(hearer.hear_of("time").number("status"), Some(0), "{wire:?}");
        let received = Value::Integer(hearer.received as i64);
        hearer.client.request("ping", &[("received", received)]);
        assert_eq!(hearer.hear_of("ping").number("status"), Some(0), "{wire:?}");
    }
    server.stop();
}
