//! One request that a method does: what it reads, and what it says is to happen.

use core::fmt;
use core::ops::Deref;

use crate::border::{Border, Seen};
use crate::failure::Failure;
use crate::value::{Field, ObjectId, Value};

/// Fields of a request or of an object, as they came. Text that a client sent counts as what it says.
#[derive(Clone, Copy)]
pub struct Fields<'c> {
    border: Border<'c>,
    /// None: those of the request.
    object: Option<ObjectId>,
}

impl<'c> Fields<'c> {
    /// A field's value.
    #[must_use]
    pub fn value(&self, name: &str) -> Value<'c> {
        self.border.value(self.object, name)
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.value(name) != Value::Null
    }

    /// All fields, in their order.
    #[must_use]
    pub fn all(&self) -> Vec<(&'c str, Value<'c>)> {
        self.border.fields(self.object)
    }

    /// A whole number.
    ///
    /// # Errors
    /// There is no such field, or it says something else. So it is for the others too.
    pub fn integer(&self, name: &str) -> Result<i64, Failure> {
        self.find_integer(name).ok_or_else(|| Failure::of_field(name))
    }

    /// The same; none where the other fails.
    #[must_use]
    pub fn find_integer(&self, name: &str) -> Option<i64> {
        self.border.to_integer(self.value(name))
    }

    /// A finite number.
    ///
    /// # Errors
    /// As for `integer`.
    pub fn number(&self, name: &str) -> Result<f64, Failure> {
        self.find_number(name).ok_or_else(|| Failure::of_field(name))
    }

    /// The same; none where the other fails.
    #[must_use]
    pub fn find_number(&self, name: &str) -> Option<f64> {
        self.border.to_number(self.value(name))
    }

    /// Yes or no.
    ///
    /// # Errors
    /// As for `integer`.
    pub fn boolean(&self, name: &str) -> Result<bool, Failure> {
        self.find_boolean(name).ok_or_else(|| Failure::of_field(name))
    }

    /// The same; none where the other fails.
    #[must_use]
    pub fn find_boolean(&self, name: &str) -> Option<bool> {
        self.border.to_boolean(self.value(name))
    }

    /// Text.
    ///
    /// # Errors
    /// As for `integer`.
    pub fn text(&self, name: &str) -> Result<&'c str, Failure> {
        self.find_text(name).ok_or_else(|| Failure::of_field(name))
    }

    /// The same; none where the other fails.
    #[must_use]
    pub fn find_text(&self, name: &str) -> Option<&'c str> {
        self.value(name).as_text()
    }

    /// An object's number.
    ///
    /// # Errors
    /// As for `integer`.
    pub fn object_id(&self, name: &str) -> Result<ObjectId, Failure> {
        self.find_object_id(name).ok_or_else(|| Failure::of_field(name))
    }

    /// The same; none where the other fails.
    #[must_use]
    pub fn find_object_id(&self, name: &str) -> Option<ObjectId> {
        self.border.to_object(self.value(name))
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.all()).finish()
    }
}

/// An object as it was before the call, with its [`Fields`].
#[derive(Clone, Copy, Debug)]
pub struct Object<'c> {
    fields: Fields<'c>,
    id: ObjectId,
    seen: Seen<'c>,
}

impl<'c> Object<'c> {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// 1 when it is new, one more with every change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.seen.version
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &'c str {
        self.seen.kind
    }

    /// The user whose it is; empty: the server's.
    #[must_use]
    pub fn owner(&self) -> &'c str {
        self.seen.owner
    }
}

impl<'c> Deref for Object<'c> {
    type Target = Fields<'c>;

    fn deref(&self) -> &Fields<'c> {
        &self.fields
    }
}

impl<'o> From<&Object<'_>> for Value<'o> {
    fn from(object: &Object<'_>) -> Self {
        Self::Object(object.id)
    }
}

/// One request, with its [`Fields`].
#[derive(Debug)]
pub struct Call<'c> {
    fields: Fields<'c>,
}

impl<'c> Call<'c> {
    pub(crate) fn new(border: Border<'c>) -> Self {
        Self { fields: Fields { border, object: None } }
    }

    fn border(&self) -> Border<'c> {
        self.fields.border
    }

    /// The name of the user who asks.
    #[must_use]
    pub fn user(&self) -> &'c str {
        self.border().user()
    }

    /// The time, in milliseconds since 1970. It stands still during a turn.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.border().time_ms()
    }

    /// The object that the request is about: its field `target`, or `object`.
    ///
    /// # Errors
    /// The request names none, or it is not there.
    pub fn target(&self) -> Result<Object<'c>, Failure> {
        let target = self.border().target();
        target.and_then(|id| self.find(id)).ok_or_else(|| Failure::new("there is no such target"))
    }

    /// An object of the request's partition.
    ///
    /// # Errors
    /// It is not there.
    pub fn object(&self, id: ObjectId) -> Result<Object<'c>, Failure> {
        self.find(id).ok_or_else(|| Failure::new("there is no such object"))
    }

    /// The same; none where the other fails.
    #[must_use]
    pub fn find(&self, id: ObjectId) -> Option<Object<'c>> {
        let seen = self.border().object(id)?;
        let fields = Fields { border: self.border(), object: Some(id) };
        Some(Object { fields, id, seen })
    }

    /// The object gets these fields, if it is still as it was read.
    ///
    /// # Errors
    /// That cannot be. The call comes to nothing then, whatever follows; so it is for the others too.
    pub fn set(&mut self, object: &Object<'_>, fields: &[Field<'_>]) -> Result<(), Failure> {
        self.border().set(object.id, object.seen.version, fields)
    }

    /// A new object in the request's partition, which is the asking user's.
    ///
    /// # Errors
    /// As for `set`.
    pub fn create(&mut self, kind: &str, fields: &[Field<'_>]) -> Result<(), Failure> {
        self.border().create(kind, fields)
    }

    /// The object goes.
    ///
    /// # Errors
    /// As for `set`.
    pub fn remove(&mut self, object: &Object<'_>) -> Result<(), Failure> {
        self.border().remove(object.id)
    }

    /// The members of the room, wherever it is, hear the event.
    ///
    /// # Errors
    /// As for `set`.
    pub fn emit(&mut self, room: &str, event: &str, fields: &[Field<'_>]) -> Result<(), Failure> {
        self.border().emit(room, event, fields)
    }

    /// A scheduled event of the asking user: a task of the method `event`, which begins so many milliseconds after the
    /// call is done. Its field `target` says what it is about, and so in which partition it is; `key` makes it once.
    ///
    /// # Errors
    /// As for `set`.
    pub fn schedule(
        &mut self,
        event: &str,
        delay_ms: u64,
        fields: &[Field<'_>],
    ) -> Result<(), Failure> {
        self.border().schedule(event, delay_ms, fields)
    }

    /// The answer gets these fields.
    ///
    /// # Errors
    /// As for `set`.
    pub fn reply(&mut self, fields: &[Field<'_>]) -> Result<(), Failure> {
        self.border().reply(fields)
    }
}

impl<'c> Deref for Call<'c> {
    type Target = Fields<'c>;

    fn deref(&self) -> &Fields<'c> {
        &self.fields
    }
}
