//! Sessions that go from connection to connection over real sockets, and from shard to shard.

use std::sync::{Condvar, Mutex};

use warren_core::message::{Value, packed};

use crate::any_client::{AnyClient, Heard, Way, Wire};
use crate::client::{Client, PATIENCE};
use crate::server::TestServer;
use crate::tls::{Files, trusting};

/// A client whose session outlives its connections.
pub(crate) struct Resumer {
    way: Way,
    pub(crate) client: AnyClient,
    pub(crate) session: String,
    /// The token that it heard last, and the one that it showed for it: until the server has heard
    /// from the new connection, either may be the one that is valid.
    pub(crate) tokens: [String; 2],
    /// Counted messages so far.
    pub(crate) received: u64,
}

impl Resumer {
    pub(crate) fn log_in(way: Way, user: &str) -> Self {
        let mut client = AnyClient::connect(&way);
        client.request("login", &[("user", Value::Text(user))]);
        let reply = client.hear_of("login");
        assert_eq!(reply.number("status"), Some(0), "{reply:?}");
        let tokens = [reply.text("token").to_owned(), String::new()];
        let session = reply.text("session").to_owned();
        Self { way, client, session, tokens, received: 0 }
    }

    pub(crate) fn way(&self) -> &Way {
        &self.way
    }

    /// The next message, counted if it is one that counts.
    pub(crate) fn hear(&mut self) -> Heard {
        let heard = self.client.hear();
        self.received += u64::from(heard.is_counted());
        heard
    }

    /// The next message of this method, with those before it counted.
    pub(crate) fn hear_of(&mut self, method: &str) -> Heard {
        loop {
            let heard = self.hear();
            if heard.method == method {
                return heard;
            }
        }
    }

    pub(crate) fn join(&mut self, room: &str) {
        self.client.request("join", &[("room", Value::Text(room))]);
        assert_eq!(self.hear_of("join").number("status"), Some(0));
    }

    /// Sends `resume` on a connection, with this token.
    pub(crate) fn ask(&self, client: &mut AnyClient, token: &str) {
        let received = Value::Integer(self.received as i64);
        let session = Value::Text(&self.session);
        let fields = [("session", session), ("token", Value::Text(token)), ("received", received)];
        client.request("resume", &fields);
    }

    /// The connection breaks. One on which nothing was said takes its place here.
    pub(crate) fn disconnect(&mut self) {
        self.client = AnyClient::connect(&self.way);
    }

    /// A new connection on which `resume` was sent, and the answer to it.
    pub(crate) fn asked(&self, token: &str) -> (AnyClient, Heard) {
        let mut client = AnyClient::connect(&self.way);
        self.ask(&mut client, token);
        let answer = client.hear_of("resume");
        (client, answer)
    }

    /// Resumes, and returns how many messages follow that were missed, and the connection before.
    pub(crate) fn resume(&mut self) -> (u64, AnyClient) {
        let shown = self.tokens.clone();
        for token in shown.iter().filter(|token| !token.is_empty()) {
            let (client, answer) = self.asked(token);
            if answer.number("status") == Some(0) {
                self.tokens = [answer.text("token").to_owned(), token.clone()];
                let before = std::mem::replace(&mut self.client, client);
                return (answer.number("replayed").unwrap(), before);
            }
            assert_eq!(answer.text("error"), "session-unknown", "{:?} {answer:?}", self.way.wire);
        }
        panic!("{:?}: no token is valid", self.way.wire);
    }
}

/// Seeded numbers: SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

const CUTS: u64 = 1000;
/// Every protocol, and two of them in TLS.
const LISTENERS: usize = Wire::ALL.len() + 2;
const CUTS_EACH: u64 = CUTS / LISTENERS as u64;
/// Most messages that a listener reads between two cuts.
const READ_MAX: u64 = 24;
/// Lines by which the speaker may be before the slowest listener.
const AHEAD_MAX: u64 = 64;
/// Lines that the speaker says together.
const BURST_MAX: u64 = 16;

/// How far the listeners are: lines that each has heard, and who has all its cuts behind it.
struct Progress {
    heard: Mutex<Vec<(u64, bool)>>,
    changed: Condvar,
}

impl Progress {
    fn note(&self, listener: usize, lines: u64, has_cuts: bool) {
        self.heard.lock().unwrap()[listener] = (lines, has_cuts);
        self.changed.notify_one();
    }

    /// Waits until the slowest listener is near. Whether all have their cuts behind them.
    fn wait(&self, said: u64) -> bool {
        let heard = self.heard.lock().unwrap();
        let is_far = |heard: &mut Vec<(u64, bool)>| {
            said > heard.iter().map(|(lines, _)| *lines).min().unwrap() + AHEAD_MAX
        };
        let (heard, wait) = self.changed.wait_timeout_while(heard, PATIENCE, is_far).unwrap();
        assert!(!wait.timed_out(), "{said} lines said; the listeners heard {heard:?}");
        heard.iter().all(|(_, has_cuts)| *has_cuts)
    }
}

/// One who hears the numbered stream, and whose connection is cut again and again.
struct Listener<'p> {
    resumer: Resumer,
    random: Random,
    index: usize,
    progress: &'p Progress,
    /// Lines that it heard.
    lines: u64,
    /// Direct messages that it heard.
    whispers: u64,
    /// The room's number of the last message.
    sequence: u64,
    cuts_left: u64,
    /// Ends that it heard: the room's, and the one to itself.
    ends: u64,
}

impl Listener<'_> {
    fn run(&mut self) {
        while self.cuts_left > 0 {
            for _ in 0..self.random.below(READ_MAX) {
                self.take_one();
            }
            self.cut();
        }
        self.progress.note(self.index, self.lines, true);
        while self.ends < 2 {
            self.take_one();
        }
        // What was counted here is what the server counted: nothing is told again.
        assert_eq!(self.resumer.resume().0, 0, "{:?}", self.resumer.way.wire);
    }

    /// Hears one message.
    fn take_one(&mut self) {
        let heard = self.resumer.hear();
        let wire = self.resumer.way.wire;
        assert_ne!(heard.method, "left", "{wire:?}");
        if heard.method == "closed" {
            // A resume that was given up came after the one that took its place.
            assert_eq!(heard.text("error"), "taken-over", "{wire:?} {heard:?}");
            self.resumer.resume();
            return;
        }
        if let Some(sequence) = heard.number("seq") {
            assert_eq!(sequence, self.sequence + 1, "{wire:?} {heard:?}");
            self.sequence = sequence;
        }
        if heard.method != "chat" {
            return;
        }
        if heard.text("text") == "end" {
            self.ends += 1;
        } else if heard.text("room") == "r" {
            assert_eq!(heard.number("text"), Some(self.lines), "{wire:?} {heard:?}");
            self.lines += 1;
            self.progress.note(self.index, self.lines, self.cuts_left == 0);
        } else {
            assert_eq!(heard.number("text"), Some(self.whispers), "{wire:?} {heard:?}");
            self.whispers += 1;
        }
    }

    /// The connection breaks in one of the ways in which connections do, and the session is resumed
    /// on another.
    fn cut(&mut self) {
        self.cuts_left -= 1;
        let way = self.random.below(4);
        match way {
            // Reset, if there is something that was not read.
            0 | 1 => self.resumer.disconnect(),
            2 => self.resumer.client.close_sending(),
            // The server knows nothing of it.
            _ => {}
        }
        // Replies that are lost on their way lock nobody out.
        for _ in 0..self.random.below(8).saturating_sub(5) {
            let mut lost = AnyClient::connect(&self.resumer.way);
            self.resumer.ask(&mut lost, &self.resumer.tokens[0]);
        }
        self.resumer.resume();
        if self.random.below(2) == 0 {
            let received = Value::Integer(self.resumer.received as i64);
            self.resumer.client.request("ping", &[("received", received)]);
        }
    }
}

/// Numbers lines in the room, and to each listener, until all have their cuts behind them. Returns
/// how many lines.
fn speak(mut speaker: Client, progress: &Progress, random: &mut Random) -> (u64, Vec<u64>) {
    let (mut lines, mut whispers) = (0, vec![0; LISTENERS]);
    let mut say = |said: &[(String, String)]| {
        let chat = |(to, text): &(String, String)| {
            format!("{{\"msg\":\"chat\",\"to\":\"{to}\",\"text\":\"{text}\"}}\n")
        };
        speaker.send(said.iter().map(chat).collect::<String>());
        for _ in said {
            assert_eq!(speaker.reply("chat")["status"], 0);
        }
    };
    while !progress.wait(lines) {
        let burst = 1 + random.below(BURST_MAX);
        let mut said: Vec<_> =
            (0..burst).map(|line| ("r".to_owned(), (lines + line).to_string())).collect();
        let to = random.below(whispers.len() as u64) as usize;
        said.push((format!("user{to}"), whispers[to].to_string()));
        say(&said);
        lines += burst;
        whispers[to] += 1;
    }
    let everyone = (0..whispers.len()).map(|index| format!("user{index}"));
    let ends: Vec<_> =
        std::iter::once("r".to_owned()).chain(everyone).map(|to| (to, "end".to_owned())).collect();
    say(&ends);
    (lines, whispers)
}

#[test]
fn a_thousand_cuts_lose_and_double_nothing_over_any_protocol() {
    let files = Files::new("[limits]\nmessages_per_s = 0\nbytes_per_s = 0\n");
    let secure = Some(trusting(&files.renew()));
    let server = TestServer::spawn(files.command("serve"));
    let plain = Wire::ALL.into_iter().map(|wire| (wire, None));
    let in_tls = [(Wire::Json, secure.clone()), (Wire::WebsocketBinary, secure)];
    let progress =
        Progress { heard: Mutex::new(vec![(0, false); LISTENERS]), changed: Condvar::new() };
    let mut speaker = Client::log_in(server.listen, "speaker");
    speaker.join("r");
    let listener = |(index, (wire, tls))| {
        let way = Way { address: server.listen, wire, tls };
        let mut resumer = Resumer::log_in(way, &format!("user{index}"));
        resumer.join("r");
        // Joins are numbered from the second on; its own was not told to it.
        let (random, progress, sequence) = (Random(index as u64), &progress, index as u64 + 1);
        let (lines, whispers, ends, cuts_left) = (0, 0, 0, CUTS_EACH);
        Listener { resumer, random, index, progress, lines, whispers, sequence, cuts_left, ends }
    };
    let mut listeners: Vec<_> = plain.chain(in_tls).enumerate().map(listener).collect();
    let (lines, whispers) = std::thread::scope(|scope| {
        for listener in &mut listeners {
            scope.spawn(|| listener.run());
        }
        speak(speaker, &progress, &mut Random(1000))
    });
    for (listener, whispers) in listeners.iter().zip(whispers) {
        assert_eq!((listener.lines, listener.whispers), (lines, whispers));
    }
    let resumes = server.metric("warren_resumes_total", "");
    assert!(resumes >= CUTS, "{resumes}");
    let moved = server.metric("warren_connections_moved_in_total", "");
    assert!(moved >= CUTS / 8, "{moved} of {resumes} went to another shard");
    let told_again = server.metric("warren_messages_replayed_total", "");
    assert!(told_again >= CUTS, "{told_again} messages were told again");
    println!(
        "{lines} lines, {resumes} resumes, {moved} of them on another shard, {told_again} told again"
    );
    server.stop();
}

#[test]
fn a_stranger_is_not_sent_to_and_fro() {
    let server = TestServer::start(2);
    let mut client =
        AnyClient::connect(&Way { address: server.listen, wire: Wire::Json, tls: None });
    let token = Value::Text("00000000000000000000000000000000");
    for session in ["0001000000000000", "0000000000000000"].into_iter().cycle().take(200) {
        let session = Value::Text(session);
        let fields = [("session", session), ("token", token), ("received", Value::Integer(0))];
        client.request("resume", &fields);
    }
    // On whichever shard it began, one of the first two names the other.
    assert_eq!(client.hear_of("closed").text("error"), "session-unknown");
    assert_eq!(server.metric("warren_connections_moved_in_total", ""), 1);
    server.stop();
}

/// A session that hears the room of a speaker, who has something to say.
pub(crate) fn hearer_and_speaker(server: &TestServer) -> (Resumer, Client) {
    let way = Way { address: server.listen, wire: Wire::Json, tls: None };
    let mut hearer = Resumer::log_in(way, "ann");
    hearer.join("r");
    let mut speaker = Client::log_in(server.listen, "bob");
    speaker.join("r");
    assert_eq!(hearer.hear_of("joined").text("user"), "bob");
    (hearer, speaker)
}

/// The speaker says one line after the other. Each is heard, and the hearer then resumes as if it
/// had missed all of them: that holds as long as `is_kept` says so of their number.
fn check_bound(config: &str, text_bytes: usize, is_kept: impl Fn(usize) -> bool) {
    let server = TestServer::start_with(2, config);
    let (mut hearer, mut speaker) = hearer_and_speaker(&server);
    let text = "x".repeat(text_bytes);
    for count in 1.. {
        speaker.send(format!("{{\"msg\":\"chat\",\"to\":\"r\",\"text\":\"{text}\"}}\n"));
        assert_eq!(hearer.client.hear_of("chat").text("text"), text);
        if is_kept(count) {
            let (told_again, _) = hearer.resume();
            assert_eq!(told_again as usize, count);
            for _ in 0..count {
                hearer.client.hear_of("chat");
            }
            continue;
        }
        let (mut refused, answer) = hearer.asked(&hearer.tokens[0]);
        assert_eq!(answer.text("error"), "resume-too-old", "{count} lines");
        // Nothing has changed: who has heard one of them hears the others.
        hearer.received += 1;
        assert_eq!(hearer.resume().0 as usize, count - 1);
        // The refused connection may log in.
        refused.request("login", &[("user", Value::Text("carl"))]);
        assert_eq!(refused.hear_of("login").number("status"), Some(0));
        break;
    }
    server.metric_becomes("warren_refusals_total", "reason=\"resume-too-old\"", 1);
    server.stop();
}

#[test]
fn a_session_that_missed_one_message_too_many_is_too_old() {
    check_bound("[limits]\nreplay_messages_max = 7\n", 10, |count| count <= 7);
}

#[test]
fn a_session_that_missed_more_than_half_a_send_queue_is_too_old() {
    let text = "x".repeat(100);
    let fields = [("room", "r"), ("from", "bob"), ("text", &text)];
    let mut fields = fields.map(|(name, value)| (name, Value::Text(value))).to_vec();
    fields.push(("seq", Value::Integer(1)));
    let line_bytes = packed("chat", &fields).len();
    let config = "[protocol]\nframe_bytes_max = 1024\n[limits]\nsend_queue_bytes_max = 6144\n";
    check_bound(config, text.len(), |count| count * line_bytes <= 3072);
}
