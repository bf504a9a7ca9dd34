//! Rows in the binary form of COPY: a header, rows of fields with their lengths, an end.
//! <https://www.postgresql.org/docs/15/sql-copy.html>

use std::io::Cursor;
use std::pin::Pin;
use std::time::Duration;

use futures_util::SinkExt;
use tokio_postgres::CopyInSink;

use super::PostgresError;
use super::session::{Session, bounded};

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Bytes that are sent at once at least.
const CHUNK_BYTES: usize = 64 << 10;
/// The version of jsonb's binary form: the text behind it.
const JSONB_VERSION: u8 = 1;

/// A COPY that is under way.
pub(super) struct CopyRows {
    sink: Pin<Box<CopyInSink<Cursor<Vec<u8>>>>>,
    chunk: Vec<u8>,
    timeout: Duration,
}

impl CopyRows {
    /// Begins the statement, which is `COPY … FROM STDIN BINARY`.
    pub(super) async fn begin(session: &Session, statement: &str) -> Result<Self, PostgresError> {
        let sink = session.bounded(session.client.copy_in(statement)).await?;
        Ok(Self { sink: Box::pin(sink), chunk: HEADER.to_vec(), timeout: session.timeout })
    }

    /// Begins a row of so many fields, each of which follows. Waits where Postgres is behind.
    pub(super) async fn begin_row(&mut self, fields: u16) -> Result<(), PostgresError> {
        if self.chunk.len() >= CHUNK_BYTES {
            let chunk = std::mem::take(&mut self.chunk);
            bounded(self.timeout, self.sink.send(Cursor::new(chunk))).await?;
        }
        self.chunk.extend_from_slice(&fields.to_be_bytes());
        Ok(())
    }

    pub(super) fn int2(&mut self, value: i16) {
        self.field(&value.to_be_bytes());
    }

    pub(super) fn int4(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    pub(super) fn int8(&mut self, value: i64) {
        self.field(&value.to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    pub(super) fn jsonb(&mut self, json: &[u8]) {
        let length = i32::try_from(json.len() + 1).expect("an object is shorter than 2 GiB");
        self.chunk.extend_from_slice(&length.to_be_bytes());
        self.chunk.push(JSONB_VERSION);
        self.chunk.extend_from_slice(json);
    }

    pub(super) fn null(&mut self) {
        self.chunk.extend_from_slice(&(-1i32).to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        let length = i32::try_from(bytes.len()).expect("a field is shorter than 2 GiB");
        self.chunk.extend_from_slice(&length.to_be_bytes());
        self.chunk.extend_from_slice(bytes);
    }

    /// Ends it, and says how many rows there were.
    pub(super) async fn finish(mut self) -> Result<u64, PostgresError> {
        self.chunk.extend_from_slice(&(-1i16).to_be_bytes());
        let chunk = std::mem::take(&mut self.chunk);
        bounded(self.timeout, self.sink.send(Cursor::new(chunk))).await?;
        bounded(self.timeout, self.sink.as_mut().finish()).await
    }
}
