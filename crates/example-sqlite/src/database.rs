use rusqlite::{Connection, ErrorCode, Params, Row, TransactionBehavior};
use sdk_state::{Error, ErrorKind, LockToken, Revision};
use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

/// How long a call waits for the transactions of others.
const PATIENCE: Duration = Duration::from_secs(30);
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS snapshots (stack TEXT, revision TEXT, sealed BLOB, PRIMARY KEY (stack, revision));
    CREATE TABLE IF NOT EXISTS pointers (stack TEXT PRIMARY KEY, revision TEXT NOT NULL, version INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS changes (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL);";
const FIND: &str = "SELECT 1 FROM changes WHERE id = ?1";
const UNKNOWN: &str = "the change may have been made or not: look before you repeat it";

/// What a transaction is for. All but `Read` keep the changes of others out from their beginning.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Access {
    Read,
    /// It changes nothing in the database.
    Exclude,
    Change,
    /// A change that makes the file.
    Create,
}

pub(crate) type Tx<'a> = rusqlite::Transaction<'a>;
pub(crate) type Work<'a, T> = dyn Fn(&Tx<'_>) -> Fallible<T> + 'a;
pub(crate) type Fallible<T> = Result<T, Failure>;
/// An error of SQLite, of the system or of the contract: each ends the transaction.
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Ended = rusqlite::Result<()>;
/// How a change ends. A test loses requests and answers here.
pub type Commit = dyn Fn(Tx<'_>) -> Ended + Send + Sync;

/// The path of the file. Each transaction opens it anew, so that threads and forked processes share nothing.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    pub(crate) commit: Arc<Commit>,
}

impl Database {
    /// Does all of `work`, durably, or nothing after an error, which names `rev`. What does not exist reads as empty.
    pub(crate) fn run<T>(&self, how: Access, rev: Option<&Revision>, work: &Work<'_, T>) -> Result<T, Error> {
        let run = || {
            let (id, other) = (LockToken::generate()?, LockToken::generate()?);
            let (done, ended) = self.transaction(how, &id, work)?;
            let Err(lost) = ended else { return Ok(done) };
            // The answer of the commit is lost. The look is a change too: once it is durable, so is what it finds, and what
            // it does not find never comes.
            let look = |tx: &Tx<'_>| Ok(tx.prepare(FIND)?.exists([id.as_str()])?);
            match self.transaction(Access::Change, &other, &look) {
                Ok((true, Ok(()))) => Ok(done),
                Ok((false, Ok(()))) => Err(lost.into()),
                _ => Err(Error::new(ErrorKind::OutcomeUnknown, UNKNOWN)
                    .with_source(lost)
                    .into()),
            }
        };
        let described = |failure: Failure| match failure.downcast::<Error>() {
            Ok(error) => *error,
            Err(failure) => described(failure).at_path(&self.path),
        };
        run().map_err(|failure| rev.into_iter().fold(described(failure), Error::at_revision))
    }

    /// Returns what `work` did, and how the transaction ended.
    fn transaction<T>(&self, how: Access, id: &LockToken, work: &Work<'_, T>) -> Fallible<(T, Ended)> {
        let mut file = self.open(how)?;
        let tx = match how {
            Access::Read => file.transaction()?,
            _ => file.transaction_with_behavior(TransactionBehavior::Immediate)?,
        };
        if matches!(how, Access::Read | Access::Exclude) {
            return Ok((work(&tx)?, Ok(())));
        }
        // Each change has a number that no other has, and an id. The last thousand are found by it.
        tx.execute("INSERT INTO changes (id) VALUES (?1)", [id.as_str()])?;
        tx.execute_batch("DELETE FROM changes WHERE number <= last_insert_rowid() - 1000")?;
        let done = work(&tx)?;
        Ok((done, (self.commit)(tx)))
    }

    /// The names that a query finds. Invalid names are left out.
    pub(crate) fn names<T: FromStr>(&self, query: &str, of: impl Params + Copy) -> Result<Vec<T>, Error> {
        let name = |row: &Row<'_>| Ok(row.get_ref(0)?.as_str().ok().and_then(|name| name.parse().ok()));
        self.run(Access::Read, None, &|tx| {
            let mut query = tx.prepare(query)?;
            let names = query.query_map(of, name)?.filter_map(Result::transpose);
            Ok(names.collect::<Result<_, _>>()?)
        })
    }

    fn open(&self, how: Access) -> Fallible<Connection> {
        if how == Access::Create || self.path.try_exists()? {
            let file = Connection::open(&self.path)?;
            file.busy_timeout(PATIENCE)?;
            // A commit is flushed before it returns, and so is the directory.
            file.pragma_update(None, "synchronous", "EXTRA")?;
            if how == Access::Create {
                file.execute_batch(SCHEMA)?;
            }
            // A file without tables was left by a crash at the first write, or belongs to somebody else.
            if file.table_exists(None, "changes")? {
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
