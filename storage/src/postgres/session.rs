//! A connection to Postgres, on which every answer has a bound.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::{PostgresError, PostgresPlace};

/// How long connecting may take, with all that is said before the first question.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, place.config.connect(NoTls)).await;
        let (client, connection) =
            connected.map_err(|_| PostgresError::TimedOut(CONNECT_TIMEOUT))??;
        let pump = tokio::spawn(async move {
            // Whoever asks next is told why it has ended.
            let _ = connection.await;
        });
        let session = Self { client, timeout: place.timeout, pump };
        // Postgres gives up what we have given up.
        let (schema, milliseconds) = (&place.schema, place.timeout.as_millis());
        let settings = format!(
            "SET search_path TO \"{schema}\"; SET statement_timeout = {milliseconds}; \
             SET idle_in_transaction_session_timeout = {milliseconds}; SET client_encoding = 'UTF8'"
        );
        session.run(&settings).await?;
        Ok(session)
    }

    /// Runs statements that answer nothing.
    pub(super) async fn run(&self, statements: &str) -> Result<(), PostgresError> {
        self.bounded(self.client.batch_execute(statements)).await
    }

    /// Awaits an answer, for as long as one may take.
    pub(super) async fn bounded<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PostgresError> {
        bounded(self.timeout, answer).await
    }
}

/// The same with a bound of one's own.
pub(super) async fn bounded<T>(
    timeout: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, PostgresError> {
    let answered = tokio::time::timeout(timeout, answer).await;
    Ok(answered.map_err(|_| PostgresError::TimedOut(timeout))??)
}
