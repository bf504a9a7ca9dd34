//! The demo world: bots that talk in rooms and one that paints a ball, over the same port and
//! protocol as anyone else, and what to type to join them. What they make is stored in a folder of
//! the user's, so that it is there again the next time.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::config::Endpoint;

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

/// Who paints the ball, where it lives, and in which colours.
const PAINTER: &str = "gail";
const BALL_PARTITION: u16 = 171;
const COLOURS: [&str; 4] = ["red", "yellow", "green", "blue"];

/// Time between two lines in a room.
const LINE_INTERVAL: Duration = Duration::from_secs(4);
/// A bot that lost its connection tries again after this.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Where a demo keeps its data unless it is told another place: `warren/demo` in the user's folder
/// for data. None for a user without one.
#[must_use]
pub fn data_folder() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = folder("XDG_DATA_HOME").or_else(|| Some(folder("HOME")?.join(".local/share")))?;
    Some(data.join("warren/demo"))
}

/// Says how to join the bots.
///
/// # Errors
/// When standard output is closed.
pub fn print_invitation(
    listen: SocketAddr,
    admin: &Endpoint,
    data: Option<&Path>,
) -> std::io::Result<()> {
    let (host, port) = (listen.ip(), listen.port());
    let metrics = match admin {
        Endpoint::Tcp(address) => format!("curl http://{address}/metrics"),
        Endpoint::Unix(path) => {
            format!("curl --unix-socket {} http://localhost/metrics", path.display())
        }
    };
    let stored = data.map_or_else(
        || "Nothing is stored: there is no folder for it (--data DIR)".to_owned(),
        |data| format!("Stored in {}", data.display()),
    );
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

In the plaza there is a ball, which a seventh paints over and over. It is an object: members of the
room hear of it, and so does whoever watches it. It outlives the server; look at its version:

    {{"msg":"find","kind":"ball","partition":{BALL_PARTITION}}}
    {{"msg":"watch","object":"{BALL_PARTITION}.1"}}
    {{"msg":"create","kind":"kite","room":"plaza","colour":"white"}}

Who is there: {{"msg":"rooms"}} and {{"msg":"who","room":"plaza"}}
Metrics:      {metrics}
{stored}
Stop:         Ctrl-C. Next: ./run doctor; ./run bench run chat --users 2000
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
    bots.spawn(async move {
        loop {
            if let Err(error) = run_painter(listen).await {
                tracing::debug!(name = PAINTER, %error, "a bot lost its connection");
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    });
    while bots.join_next().await.is_some() {}
}

/// The painter's life: finds the ball, or makes it, and gives it one colour after the other.
async fn run_painter(listen: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(listen).await?;
    let (input, mut output) = stream.split();
    let mut heard = BufReader::new(input).lines();
    let room = ROOMS[0].0;
    let ball =
        json!({"msg": "find", "kind": "ball", "owner": PAINTER, "partition": BALL_PARTITION});
    for request in
        [json!({"msg": "login", "user": PAINTER}), json!({"msg": "join", "room": room}), ball]
    {
        output.write_all(format!("{request}\n").as_bytes()).await?;
    }
    let mut beat = tokio::time::interval(LINE_INTERVAL);
    let (mut object, mut colour) = (Value::Null, 0);
    loop {
        tokio::select! {
            _ = beat.tick(), if !object.is_null() => {
                colour = (colour + 1) % COLOURS.len();
                let paint = json!({"msg": "set", "object": object, "colour": COLOURS[colour]});
                output.write_all(format!("{paint}\n").as_bytes()).await?;
            }
            frame = heard.next_line() => {
                let Some(frame) = frame? else { return Ok(()) };
                let frame: Value = serde_json::from_str(&frame)?;
                match frame["msg"].as_str() {
                    Some("find") if frame["objects"][0].is_string() => {
                        object = frame["objects"][0].clone();
                    }
                    Some("find") => {
                        let make = json!({"msg": "create", "kind": "ball", "room": room,
                            "partition": BALL_PARTITION, "colour": COLOURS[colour]});
                        output.write_all(format!("{make}\n").as_bytes()).await?;
                    }
                    Some("create") => object = frame["object"].clone(),
                    _ => {}
                }
            }
        }
    }
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
