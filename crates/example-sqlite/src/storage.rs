use crate::database::{CHANGE, CREATE, Database, Fallible, READ, Tx};
use localstate::LocalStorage;
use rusqlite::{OptionalExtension as _, Row, types::Value};
use sdk_state::{Created, Error, ErrorKind, Expect, Holder, LockInfo, LockStatus, LockToken};
use sdk_state::{Prefix, Revision, StackId, Storage, TryLock};

/// One stack: its rows in the database, and its lock in the directory beside it.
pub(crate) struct SqliteStorage {
    pub(crate) database: Database,
    pub(crate) locks: LocalStorage,
    pub(crate) stack: String,
}

impl SqliteStorage {
    fn pointer(&self, tx: &Tx<'_>) -> Fallible<Option<Revision>> {
        let mut query = tx.prepare("SELECT revision FROM pointers WHERE stack = ?1")?;
        match query.query([&self.stack])?.next()? {
            Some(row) => Ok(Some(Revision::from_pointer(row.get_ref(0)?.as_bytes()?)?)),
            None => Ok(None),
        }
    }

    /// To be asked in the transaction of a change: an eviction is one too, so none comes between.
    fn demand_lock(&self, held: Option<&LockToken>) -> Result<(), Error> {
        let status = held.map(|_| self.locks.lock_status()).transpose()?.flatten();
        match status.and_then(|status| status.info.token).as_ref() == held {
            true => Ok(()),
            false => Err(Error::lock_lost()),
        }
    }
}

impl Storage for SqliteStorage {
    fn id(&self) -> &StackId {
        self.locks.id()
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        if !rev.is_writable() {
            return Err(refused(ErrorKind::InvalidName, "a new name tells a moment", rev));
        }
        let insert = "INSERT INTO snapshots VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        let row = (&self.stack, rev.to_string(), sealed);
        match self.database.run(CREATE, |tx| Ok(tx.execute(insert, row)?))? {
            0 => Ok(Created::Exists),
            _ => Ok(Created::Created),
        }
    }

    fn replace(&self, rev: &Revision, sealed: &[u8]) -> Result<(), Error> {
        let update = "UPDATE snapshots SET sealed = ?3 WHERE stack = ?1 AND revision = ?2";
        let row = (&self.stack, rev.to_string(), sealed);
        match self.database.run(CHANGE, |tx| Ok(tx.execute(update, row)?))? {
            0 => Err(Error::not_found(rev)),
            _ => Ok(()),
        }
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        // What is empty or too large is not loaded: its length stands for it.
        let query = "SELECT iif(length(sealed) BETWEEN 1 AND ?3, sealed, length(sealed)) FROM snapshots
            WHERE stack = ?1 AND revision = ?2";
        let key = (&self.stack, rev.to_string(), limit.min(1 << 40) as i64);
        let read = |tx: &Tx<'_>| Ok(tx.query_row(query, key, |row| row.get(0)).optional()?);
        match self.database.run(READ, read)? {
            Some(Value::Blob(sealed)) => Ok(sealed),
            Some(Value::Integer(1..)) => Err(refused(ErrorKind::TooLarge, "it is above the limit", rev)),
            Some(_) => Err(refused(ErrorKind::Damaged, "it is empty or no blob", rev)),
            None => Err(Error::not_found(rev)),
        }
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        let query =
            "SELECT substr(sealed, 1, ?3), length(sealed) FROM snapshots WHERE stack = ?1 AND revision = ?2";
        let key = (&self.stack, rev.to_string(), most.min(1 << 40) as i64);
        let beginning = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?));
        match self
            .database
            .run(READ, |tx| Ok(tx.query_row(query, key, beginning).optional()?))?
        {
            Some((_, 0)) => Err(refused(ErrorKind::Damaged, "it is empty", rev)),
            Some((bytes, length)) => Ok(Prefix {
                bytes,
                stored_bytes: length as u64,
            }),
            None => Err(Error::not_found(rev)),
        }
    }

    fn remove(&self, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        let delete = "DELETE FROM snapshots WHERE stack = ?1 AND revision = ?2";
        self.database.run(CHANGE, |tx| {
            self.demand_lock(held)?;
            if self.pointer(tx)?.as_ref() == Some(rev) {
                return Err(refused(ErrorKind::RevisionIsCurrent, "it is current", rev).into());
            }
            tx.execute(delete, [&self.stack, &rev.to_string()])?;
            Ok(())
        })
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        let query = "SELECT revision FROM snapshots WHERE stack = ?1";
        self.database.names(query, [&self.stack])
    }

    fn current(&self) -> Result<Option<Revision>, Error> {
        self.database.run(READ, |tx| self.pointer(tx))
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, held: Option<&LockToken>) -> Result<(), Error> {
        let point = "REPLACE INTO pointers SELECT stack, revision FROM snapshots
            WHERE stack = ?1 AND revision = ?2 AND length(sealed) > 0";
        self.database.run(CHANGE, |tx| {
            self.demand_lock(held)?;
            if let Expect::Exactly(expected) = expect {
                let found = self.pointer(tx)?;
                if found.as_ref() != expected {
                    return Err(Error::current_moved(expected.cloned(), found).into());
                }
            }
            match tx.execute(point, [&self.stack, &rev.to_string()])? {
                0 => Err(Error::not_found(rev).into()),
                _ => Ok(()),
            }
        })
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let answer = self.locks.try_lock(holder)?;
        if matches!(answer, TryLock::Held(_)) {
            // Without a database an eviction would be no transaction.
            self.database.run(CREATE, |_| Ok(()))?;
        }
        Ok(answer)
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.locks.lock_status()
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.database
            .run(CHANGE, |_| Ok(self.locks.force_unlock(expected)?))
    }
}

fn refused(kind: ErrorKind, message: &str, rev: &Revision) -> Error {
    Error::new(kind, message).at_revision(rev)
}
