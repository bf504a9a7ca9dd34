//! The demo world: bots that talk in rooms, over the same port and protocol as anyone else, and
//! what to type to join them.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Room, and who talks in it, in turn.
const ROOMS: [(&str, [&str; 3]); 2] =
    [("plaza", ["alda", "bero", "cleo"]), ("harbour", ["dora", "emil", "finn"])];

/// What they say, one line after the other.
const LINES: [&str; 8] = [
    "who is up for a walk to the old mill?",
    "I saw a heron by the water this morning.",
    "the baker has run out of rye again.",
    "somebody left a lantern burning on the stairs.",
    "the tide is early today.",
    "has anyone a spare rope, six ells or so?",
    "they say the north gate opens at dusk.",
    "listen: the bells.",
];

/// Time between two lines in a room.
const LINE_INTERVAL: Duration = Duration::from_secs(4);
/// A bot that lost its connection tries again after this.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Says how to join the bots.
///
/// # Errors
/// When standard output is closed.
pub fn print_invitation(listen: SocketAddr, admin: SocketAddr) -> std::io::Result<()> {
    let (host, port) = (listen.ip(), listen.port());
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        r#"
Six bots talk in the rooms `plaza` and `harbour`. Join them from another terminal:

    nc {host} {port}
    {{"msg":"login","user":"ann"}}
    {{"msg":"join","room":"plaza"}}
    {{"msg":"chat","to":"plaza","text":"hello"}}

and from a third one, in the ConnServer's text protocol:

    nc {host} {port}
    msg=login&user=bob
    msg=join&room=plaza
    msg=chat&to=plaza&text=hello, ann

Metrics: curl http://{admin}/metrics        Stop: Ctrl-C
"#
    )?;
    out.flush()
}

/// Runs the bots until it is dropped.
pub async fn run_bots(listen: SocketAddr) {
    let mut bots = JoinSet::new();
    for (room, names) in ROOMS {
        for (turn, name) in names.into_iter().enumerate() {
            bots.spawn(async move {
                loop {
                    if let Err(error) = run_bot(listen, room, name, turn).await {
                        tracing::debug!(name, %error, "a bot lost its connection");
                    }
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            });
        }
    }
    while bots.join_next().await.is_some() {}
}

/// One bot's life: it logs in, joins, and says every third line of its room.
async fn run_bot(listen: SocketAddr, room: &str, name: &str, turn: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(listen).await?;
    let (input, mut output) = stream.split();
    let hello = format!(
        "{{\"msg\":\"login\",\"user\":\"{name}\"}}\n{{\"msg\":\"join\",\"room\":\"{room}\"}}\n"
    );
    output.write_all(hello.as_bytes()).await?;
    let mut heard = BufReader::new(input).lines();
    let bots = u32::try_from(ROOMS[0].1.len()).expect("a handful");
    let first = tokio::time::Instant::now() + LINE_INTERVAL * (turn as u32 + 1);
    let mut beat = tokio::time::interval_at(first, LINE_INTERVAL * bots);
    let mut line = turn;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                let text = LINES[line % LINES.len()];
                line += ROOMS[0].1.len();
                let chat =
                    format!("{{\"msg\":\"chat\",\"to\":\"{room}\",\"text\":\"{text}\"}}\n");
                output.write_all(chat.as_bytes()).await?;
            }
            // What others say is read and let go: a bot that does not read is a slow consumer.
            frame = heard.next_line() => if frame?.is_none() { return Ok(()) },
        }
    }
}
