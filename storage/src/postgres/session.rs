//! A connection to Postgres, on which every answer has a bound.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, Connection, NoTls, Row, SimpleQueryMessage, Socket};

use super::place::{KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, UNANSWERED_MAX};
use super::{PostgresError, PostgresPlace, words_of};

/// A connection. What it was about to do when it is dropped Postgres takes back.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) timeout: Duration,
    /// What moves the bytes; it ends with the session, also where Postgres is silent.
    pump: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Session {
    /// Connects, and looks for tables in the place's schema only.
    pub(super) async fn connect(place: &PostgresPlace) -> Result<Self, PostgresError> {
        let (client, connection) = connect_any(place).await?;
        let encoding = connection.parameter("server_encoding").unwrap_or("unknown").to_owned();
        let pump = tokio::spawn(async move {
            // Whoever asks next is told why it has ended.
            let _ = connection.await;
        });
        let session = Self { client, timeout: place.timeout, pump };
        if encoding != "UTF8" {
            return Err(PostgresError::EncodingUnsupported(encoding));
        }
        // Postgres gives up what we have given up, and soon notices when our machine is gone.
        let (schema, milliseconds) = (&place.schema, place.timeout.as_millis());
        let (idle, interval) = (KEEPALIVE_IDLE.as_secs(), KEEPALIVE_INTERVAL.as_secs());
        let unanswered = UNANSWERED_MAX.as_millis();
        let settings = format!(
            "SET search_path TO \"{schema}\"; SET statement_timeout = {milliseconds}; \
             SET idle_in_transaction_session_timeout = {milliseconds}; SET client_encoding = 'UTF8'; \
             SET tcp_keepalives_idle = {idle}; SET tcp_keepalives_interval = {interval}; \
             SET tcp_keepalives_count = {KEEPALIVE_COUNT}; SET tcp_user_timeout = {unanswered}"
        );
        session.run(&settings).await?;
        Ok(session)
    }

    /// Runs statements that answer nothing.
    pub(super) async fn run(&self, statements: &str) -> Result<(), PostgresError> {
        self.bounded(self.client.batch_execute(statements)).await
    }

    /// Runs statements, and says how many rows they have changed.
    pub(super) async fn count(&self, statements: &str) -> Result<u64, PostgresError> {
        let answers = self.bounded(self.client.simple_query(statements)).await?;
        let count = |answer: &SimpleQueryMessage| match answer {
            SimpleQueryMessage::CommandComplete(count) => *count,
            _ => 0,
        };
        Ok(answers.iter().map(count).sum())
    }

    /// Awaits an answer, for as long as one may take.
    pub(super) async fn bounded<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PostgresError> {
        bounded(self.timeout, answer).await
    }
}

/// Connects to the first of the hosts that answers. Each has its time.
async fn connect_any(
    place: &PostgresPlace,
) -> Result<(Client, Connection<Socket, NoTlsStream>), PostgresError> {
    let timeout = place.connect_timeout;
    let mut failure = PostgresError::TimedOut(timeout);
    for host in &place.hosts {
        match bounded(timeout, host.connect(NoTls)).await {
            Ok(connected) => return Ok(connected),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A column of an answer, which may be another than we have asked for.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, PostgresError> {
    row.try_get(index).map_err(|error| PostgresError::AnswerMalformed(words_of(&error)))
}

/// The same with a bound of one's own.
pub(super) async fn bounded<T>(
    timeout: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, PostgresError> {
    let answered = tokio::time::timeout(timeout, answer).await;
    Ok(answered.map_err(|_| PostgresError::TimedOut(timeout))??)
}
