//! Methods and behaviours without a server, for tests of plugins.
//!
//! ```
//! use warren_plugin::testing::Request;
//! use warren_plugin::{Call, Failure, field};
//!
//! fn hit(call: &mut Call) -> Result<(), Failure> {
//!     let wolf = call.target()?;
//!     let hp = wolf.integer("hp")? - call.integer("damage")?;
//!     call.set(&wolf, &[field("hp", hp)])?;
//!     call.reply(&[field("hp", hp)])
//! }
//!
//! let request = Request::by("ann").field("damage", "7").target("wolf", &[field("hp", 20)]);
//! let outcome = request.run(hit);
//! assert_eq!(outcome.effects, ["set 1.1 hp=13"]);
//! assert_eq!(outcome.answer, Ok("hp=13".to_owned()));
//! ```
//!
//! What is said is not looked at as the server does: names that are none, effects that are too many and objects that
//! have changed are refused there, and not here.

mod host;
#[cfg(test)]
pub(crate) use host::think_raw;

use core::fmt::Write as _;
use std::cell::RefCell;

use crate::batch::{Batch, Neighbour};
use crate::table::{BehaviourFunction, MethodFunction};
use crate::value::{Field, ObjectId, TextList, Value};

/// The number of a request's target: `1.1`. Further objects have those behind it.
pub const TARGET: ObjectId = ObjectId(1 << 48 | 1);

/// A value that is kept.
#[derive(Clone, Debug)]
enum Kept {
    Null,
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Bytes(Vec<u8>),
    Object(ObjectId),
    List(TextList),
}

impl Kept {
    fn of(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Integer(integer) => Self::Integer(integer),
            Value::Float(number) => Self::Float(number),
            Value::Boolean(boolean) => Self::Boolean(boolean),
            Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Value::Object(object) => Self::Object(object),
            Value::List(list) => Self::List(list.iter().collect()),
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::Text(text),
            Self::Integer(integer) => Value::Integer(*integer),
            Self::Float(number) => Value::Float(*number),
            Self::Boolean(boolean) => Value::Boolean(*boolean),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Object(object) => Value::Object(*object),
            Self::List(list) => Value::List(list.as_list()),
        }
    }
}

type KeptFields = Vec<(String, Kept)>;

fn kept(fields: &[Field<'_>]) -> KeptFields {
    fields.iter().map(|field| (field.name().to_owned(), Kept::of(field.value()))).collect()
}

/// `name=value`, with spaces between.
fn line(mut start: String, fields: &[Field<'_>]) -> String {
    for field in fields {
        let space = if start.is_empty() { "" } else { " " };
        let _ = write!(start, "{space}{}={}", field.name(), field.value());
    }
    start
}

#[derive(Clone, Debug)]
struct KeptObject {
    kind: String,
    owner: String,
    fields: KeptFields,
}

/// A request for a method.
#[derive(Clone, Debug)]
pub struct Request {
    user: String,
    time_ms: i64,
    fields: KeptFields,
    /// The first is the target.
    objects: Vec<KeptObject>,
}

impl Request {
    /// Of this user.
    #[must_use]
    pub fn by(user: &str) -> Self {
        let (fields, objects) = (Vec::new(), Vec::new());
        Self { user: user.to_owned(), time_ms: 0, fields, objects }
    }

    /// At this time, in milliseconds since 1970; otherwise at 0.
    #[must_use]
    pub fn at_ms(mut self, time_ms: i64) -> Self {
        self.time_ms = time_ms;
        self
    }

    /// With this field.
    #[must_use]
    pub fn field<'v>(mut self, name: &str, value: impl Into<Value<'v>>) -> Self {
        self.fields.push((name.to_owned(), Kept::of(value.into())));
        self
    }

    /// About this object of the user's, which its field `target` names; a further one is there beside it.
    #[must_use]
    pub fn target(mut self, kind: &str, fields: &[Field<'_>]) -> Self {
        if !self.fields.iter().any(|(name, _)| name == "target") {
            self.fields.push(("target".to_owned(), Kept::Object(TARGET)));
        }
        let (kind, owner) = (kind.to_owned(), self.user.clone());
        self.objects.push(KeptObject { kind, owner, fields: kept(fields) });
        self
    }

    /// Has the method do it.
    #[must_use]
    pub fn run(&self, method: MethodFunction) -> Outcome {
        let call = host::FakeCall {
            request: self,
            effects: RefCell::default(),
            answer: RefCell::default(),
            failure: RefCell::default(),
        };
        let status = host::run(method, &call);
        let answer = call.answer.into_inner();
        let why = call.failure.into_inner();
        let answer = if status == 0 { Ok(answer) } else { Err(why) };
        Outcome { effects: call.effects.into_inner(), answer }
    }
}

/// What a method has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What is to happen, as `set 1.1 hp=13`, `create wolf hp=20`, `remove 1.1`, `emit arena hit hp=13`,
    /// `schedule wolf.howl in 500 ms loud=true`. Nothing of it happens if the method fails.
    pub effects: Vec<String>,
    /// The answer's fields, as `hp=13 by=ann`; or why the method fails, also when it has panicked.
    pub answer: Result<String, String>,
}

/// Who is near the NPCs of a batch: the same for all.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Entities nearby.
    pub entities: Vec<Neighbour>,
    /// Members nearby.
    pub members: Vec<Neighbour>,
}

/// NPCs for a behaviour, who stand in the middle of a world and move by one unit in a second.
#[derive(Clone, Debug)]
pub struct Npcs {
    /// As [`Batch`] has them.
    pub positions: Vec<[f32; 3]>,
    /// The same.
    pub velocities: Vec<[f32; 3]>,
    /// The same.
    pub headings: Vec<f32>,
    /// The same.
    pub states: Vec<u64>,
    /// The same.
    pub seconds: Vec<f32>,
    /// The same, for all.
    pub speed: f32,
    /// The same, for all.
    pub radius: f32,
    /// The same, for all.
    pub home: [f32; 3],
    /// The same, for all: one more with each `think`.
    pub tick: u64,
}

impl Npcs {
    /// So many.
    #[must_use]
    pub fn new(count: u16) -> Self {
        let count = usize::from(count);
        Self {
            positions: vec![[0.0; 3]; count],
            velocities: vec![[0.0; 3]; count],
            headings: vec![0.0; count],
            states: vec![0; count],
            seconds: vec![1.0; count],
            speed: 1.0,
            radius: 100.0,
            home: [0.0; 3],
            tick: 0,
        }
    }

    /// Has the behaviour move them, with those around.
    ///
    /// # Panics
    /// The slices are not of one length.
    pub fn think(&mut self, behaviour: BehaviourFunction, around: &Around) {
        let count = self.positions.len();
        let lengths = [self.velocities.len(), self.headings.len(), self.states.len()];
        assert!(lengths.iter().chain([&self.seconds.len()]).all(|length| *length == count));
        let numbers: Vec<u16> = (0..=u16::MAX).take(count).collect();
        let mut batch = Batch {
            tick: self.tick,
            speed: self.speed,
            radius: self.radius,
            home: self.home,
            dims: 2,
            numbers: &numbers,
            seconds: &self.seconds,
            positions: &mut self.positions,
            velocities: &mut self.velocities,
            headings: &mut self.headings,
            states: &mut self.states,
        };
        behaviour(&mut batch, &host::near(around));
        self.tick += 1;
    }
}
