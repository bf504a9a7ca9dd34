//! The demo world: bots that talk in rooms, one that paints a ball and some that walk in a world, over
//! the same port and protocol as anyone else, and what to type to join them. What they make is stored
//! in a folder of the user's, so that it is there again the next time.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

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

/// The world, and who walks in it.
const WORLD: &str = "meadow";
const WALKERS: [&str; 6] = ["hana", "ivo", "juna", "kaj", "lena", "milo"];
/// Width of its cells, and ticks in a second.
const WORLD_CELL: u32 = 64;
const WORLD_TICK_HZ: u32 = 10;
/// Who else is there, moved by the server: `behaviour:count:speed:x:y:radius`.
const NPCS: [&str; 5] = [
    "wander:80:2.5:0:0:110",
    "flock:30:6:-30:30:70",
    "patrol:12:7:0:0:60",
    "flee:10:10:40:-40:50",
    "seek:4:3:-50:-50:60",
];
/// How far from the middle walkers go, in units: so that whoever comes in there sees them.
const WALK_RADIUS: f64 = 44.0;
/// Time in which a walker goes once around, in seconds: about 4 units a second.
const WALK_S: f64 = 75.0;
/// Time between two moves of a walker.
const MOVE_INTERVAL: Duration = Duration::from_millis(100);

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
    let pages = match admin {
        Endpoint::Tcp(address) => format!(
            "\nIn a browser: a world to walk in, http://{address}/demo/world\n              \
             and a chat, http://{address}/demo\n"
        ),
        Endpoint::Unix(_) => String::new(),
    };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        r#"{pages}
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
    for (turn, name) in WALKERS.into_iter().enumerate() {
        bots.spawn(async move {
            loop {
                if let Err(error) = run_walker(listen, name, turn).await {
                    tracing::debug!(name, %error, "a bot lost its connection");
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        });
    }
    while bots.join_next().await.is_some() {}
}

/// A walker's life: it makes the world unless that is there, joins it, and goes round and round.
async fn run_walker(listen: SocketAddr, name: &str, turn: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(listen).await?;
    let (input, mut output) = stream.split();
    let mut heard = BufReader::new(input).lines();
    let start = tokio::time::Instant::now();
    let phase = turn as f64 / WALKERS.len() as f64;
    let [x, y, ..] = walk(phase, 0.0);
    for request in [
        json!({"msg": "login", "user": name}),
        json!({"msg": "create", "kind": "world", "room": WORLD, "cell": WORLD_CELL,
            "tick_hz": WORLD_TICK_HZ, "npcs": NPCS}),
        json!({"msg": "join", "room": WORLD, "x": x, "y": y}),
    ] {
        output.write_all(format!("{request}\n").as_bytes()).await?;
    }
    let mut beat = tokio::time::interval(MOVE_INTERVAL);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            now = beat.tick() => {
                let [x, y, vx, vy] = walk(phase, (now - start).as_secs_f64());
                let heading = vy.atan2(vx).to_degrees();
                let moved = json!({"msg": "move", "room": WORLD, "x": x, "y": y, "vx": vx, "vy": vy,
                    "heading": heading});
                output.write_all(format!("{moved}\n").as_bytes()).await?;
            }
            // What others do is read and let go.
            frame = heard.next_line() => if frame?.is_none() { return Ok(()) },
        }
    }
}

/// Where a walker is after so many seconds, and how fast it goes: x, y, vx, vy. `phase` is its share
/// of the way around by which it is ahead. Each goes along an eight of its own.
fn walk(phase: f64, seconds: f64) -> [f64; 4] {
    let rate = std::f64::consts::TAU / WALK_S;
    let angle = rate * seconds + std::f64::consts::TAU * phase;
    let [(sine, cosine), (sine_twice, cosine_twice)] =
        [(angle + phase).sin_cos(), (2.0 * angle).sin_cos()];
    [
        WALK_RADIUS * cosine,
        WALK_RADIUS * 0.6 * sine_twice,
        -WALK_RADIUS * rate * sine,
        WALK_RADIUS * 1.2 * rate * cosine_twice,
    ]
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
