use rusqlite::{Connection, ErrorCode, Params, Row, Transaction, TransactionBehavior as Access};
use sdk_state::{Error, ErrorKind, LockToken, Revision};
use std::{path::PathBuf, str::FromStr, sync::Arc};

/// A call waits 30 seconds for the transactions of others. A commit is flushed before it returns, and so is the directory.
const SETTINGS: &str = "PRAGMA busy_timeout = 30000; PRAGMA synchronous = EXTRA;";
const SCHEMA: &str = "BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS snapshots (stack TEXT, revision TEXT, sealed BLOB, PRIMARY KEY (stack, revision)) STRICT;
    CREATE TABLE IF NOT EXISTS pointers (stack TEXT PRIMARY KEY, revision TEXT NOT NULL, version INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS records
        (stack TEXT, version INTEGER, number INTEGER, record BLOB, PRIMARY KEY (stack, version, number)) STRICT;
    CREATE TABLE IF NOT EXISTS changes (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL); COMMIT;";

pub(crate) type Work<'a, T> = dyn Fn(&Transaction<'_>) -> Fallible<T> + 'a;
pub(crate) type Fallible<T> = Result<T, Failure>;
/// An error of SQLite, of the system or of the contract: each ends the transaction.
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Ended = rusqlite::Result<()>;
/// How a change ends. A test loses requests and answers here.
pub type Commit = dyn Fn(Transaction<'_>) -> Ended + Send + Sync;

/// The path of the file. Each transaction opens it anew, so that threads and forked processes share nothing.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    pub(crate) commit: Arc<Commit>,
}

impl Database {
    /// Makes the file and its tables, whole or not at all.
    pub(crate) fn make(&self, rev: Option<&Revision>) -> Result<(), Error> {
        let made =
            Connection::open(&self.path).and_then(|file| file.execute_batch(&[SETTINGS, SCHEMA].concat()));
        made.map_err(|error| self.described(error.into(), rev))
    }

    /// Does all of `work`, durably, or nothing after an error, which names `rev`.
    ///
    /// `Deferred` reads; what does not exist reads as empty. `Immediate` changes something, and keeps the changes of others
    /// out from its beginning. `Exclusive` keeps everybody out, and changes nothing in the database.
    pub(crate) fn run<T>(&self, how: Access, rev: Option<&Revision>, work: &Work<'_, T>) -> Result<T, Error> {
        let described = |failure| self.described(failure, rev);
        let id = LockToken::generate()?;
        let (done, ended) = self.transaction(how, &id, work).map_err(described)?;
        let Err(lost) = ended else { return Ok(done) };
        // The commit's answer is lost. A second change with the same id finds its own row, and the first one's if that was
        // committed. Once the second is durable, a row that it found is durable too, and one that it missed never appears.
        let look = |tx: &Transaction<'_>| Ok(tx.execute("DELETE FROM changes WHERE id = ?1", [id.as_str()])?);
        let unknown = "the change may have been made or not: look before you repeat it";
        let unknown = Error::new(ErrorKind::OutcomeUnknown, unknown);
        match self.transaction(Access::Immediate, &id, &look) {
            Ok((2, Ok(()))) => Ok(done),
            Ok((_, Ok(()))) => Err(described(lost.into())),
            _ => Err(described(unknown.with_source(lost).into())),
        }
    }

    /// Returns what `work` did, and how the transaction ended.
    fn transaction<T>(&self, how: Access, id: &LockToken, work: &Work<'_, T>) -> Fallible<(T, Ended)> {
        let mut file = self.open()?;
        let tx = file.transaction_with_behavior(how)?;
        if !matches!(how, Access::Immediate) {
            return Ok((work(&tx)?, Ok(())));
        }
        // Each change has a number that no other has, and an id. The last thousand are found by it.
        tx.execute("INSERT INTO changes (id) VALUES (?1)", [id.as_str()])?;
        tx.execute_batch("DELETE FROM changes WHERE number <= last_insert_rowid() - 1000")?;
        let done = work(&tx)?;
        Ok((done, (self.commit)(tx)))
    }

    fn open(&self) -> Fallible<Connection> {
        if self.path.try_exists()? {
            let file = Connection::open(&self.path)?;
            file.execute_batch(SETTINGS)?;
            // A file without tables was left by a crash at the first write, or belongs to somebody else.
            if file.table_exists(None, "changes")? {
                return Ok(file);
            }
        }
        let nothing = Connection::open_in_memory()?;
        nothing.execute_batch(SCHEMA)?;
        Ok(nothing)
    }

    /// Chooses the kind by what the caller should do. The row that a query misses is that of `rev`.
    fn described(&self, failure: Failure, rev: Option<&Revision>) -> Error {
        if let (Some(rusqlite::Error::QueryReturnedNoRows), Some(rev)) = (failure.downcast_ref(), rev) {
            return Error::not_found(rev);
        }
        let code = |error: &rusqlite::Error| error.sqlite_error_code();
        let kind = match failure.downcast_ref().and_then(code) {
            Some(ErrorCode::DatabaseBusy) => ErrorKind::Unavailable,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Damaged,
            Some(ErrorCode::TooBig) => ErrorKind::TooLarge,
            _ => ErrorKind::Io,
        };
        let failed = Error::new(kind, "the database failed").at_path(&self.path);
        let error = match failure.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => failed.with_source(source),
        };
        rev.into_iter().fold(error, Error::at_revision)
    }

    /// The names that a query finds. Invalid names are left out.
    pub(crate) fn names<T: FromStr>(&self, query: &str, of: impl Params + Copy) -> Result<Vec<T>, Error> {
        let name = |row: &Row<'_>| Ok(row.get_ref(0)?.as_str().ok().and_then(|name| name.parse().ok()));
        self.run(Access::Deferred, None, &|tx| {
            let mut query = tx.prepare(query)?;
            let names = query.query_map(of, name)?.filter_map(Result::transpose);
            Ok(names.collect::<Result<_, _>>()?)
        })
    }
}
