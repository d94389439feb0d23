use rusqlite::{Connection, ErrorCode, OpenFlags, Params, Row, TransactionBehavior};
use sdk_state::{Error, ErrorKind, Wait};
use std::{path::PathBuf, str::FromStr, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS snapshots (stack TEXT, revision TEXT, sealed BLOB, PRIMARY KEY (stack, revision));
    CREATE TABLE IF NOT EXISTS pointers (stack TEXT PRIMARY KEY, revision TEXT NOT NULL);";

/// How a transaction opens the file, and whether it keeps the changes of others out from its beginning.
pub(crate) type Access = (OpenFlags, TransactionBehavior);
pub(crate) const READ: Access = (OpenFlags::SQLITE_OPEN_READ_WRITE, TransactionBehavior::Deferred);
pub(crate) const CHANGE: Access = (OpenFlags::SQLITE_OPEN_READ_WRITE, TransactionBehavior::Immediate);
pub(crate) const CREATE: Access = (CHANGE.0.union(OpenFlags::SQLITE_OPEN_CREATE), CHANGE.1);

pub(crate) type Tx<'a> = rusqlite::Transaction<'a>;
/// An error of SQLite, of the system or of the contract: each ends the transaction.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Fallible<T> = Result<T, Failure>;

/// The path of the file. Each transaction opens it anew, so that threads and forked processes share nothing.
#[derive(Debug, Clone)]
pub(crate) struct Database(pub(crate) PathBuf);

impl Database {
    /// Does all of `work`, durably, or after an error nothing. What does not exist reads as empty.
    pub(crate) fn run<T>(&self, how: Access, work: impl FnOnce(&Tx<'_>) -> Fallible<T>) -> Result<T, Error> {
        let run = || {
            let mut connection = self.open(how.0)?;
            let tx = connection.transaction_with_behavior(how.1)?;
            let done = work(&tx)?;
            tx.commit()?;
            Ok(done)
        };
        run().map_err(|failure: Failure| match failure.downcast::<Error>() {
            Ok(error) => *error,
            Err(failure) => described(failure).at_path(&self.0),
        })
    }

    /// The names that a query finds. What is no valid one is left out.
    pub(crate) fn names<T: FromStr>(&self, query: &str, of: impl Params) -> Result<Vec<T>, Error> {
        let name = |row: &Row<'_>| Ok(row.get_ref(0)?.as_str().ok().and_then(|name| name.parse().ok()));
        self.run(READ, |tx| {
            let mut query = tx.prepare(query)?;
            let names = query.query_map(of, name)?.filter_map(Result::transpose);
            Ok(names.collect::<Result<_, _>>()?)
        })
    }

    fn open(&self, flags: OpenFlags) -> Fallible<Connection> {
        if flags == CREATE.0 || self.0.try_exists()? {
            let file = Connection::open_with_flags(&self.0, flags)?;
            file.busy_timeout(PATIENCE)?;
            // A commit is flushed before it returns. One whose flush fails is not seen; after a rollback journal it may be.
            file.pragma_update(None, "synchronous", "FULL")?;
            if flags == CREATE.0 {
                // SQLite does not wait where two switch a new file at once.
                let (wait, poll) = (Wait::at_most(PATIENCE), Duration::from_millis(1));
                while let Err(error) = file.pragma_update(None, "journal_mode", "WAL") {
                    if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || !wait.pause(poll) {
                        return Err(error.into());
                    }
                }
                file.execute_batch(SCHEMA)?;
            }
            // A crash at the first write may have left a file without tables.
            if file.table_exists(None, "pointers")? {
                return Ok(file);
            }
        }
        let nothing = Connection::open_in_memory()?;
        nothing.execute_batch(SCHEMA)?;
        Ok(nothing)
    }
}

fn described(failure: Failure) -> Error {
    let code = |error: &rusqlite::Error| error.sqlite_error_code();
    let kind = match failure.downcast_ref().and_then(code) {
        Some(ErrorCode::DatabaseBusy) => ErrorKind::Unavailable,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Damaged,
        Some(ErrorCode::TooBig) => ErrorKind::TooLarge,
        _ => ErrorKind::Io,
    };
    Error::new(kind, "the database failed").with_source(failure)
}
