use crate::database::{CHANGE, CREATE, Database, Fallible, READ, Tx};
use rusqlite::{OptionalExtension as _, Row, types::Value};
use sdk_state::{Created, Error, ErrorKind, Expect, Holder, LockInfo, LockStatus, LockToken};
use sdk_state::{Prefix, Revision, StackId, Storage, TryLock};

/// One stack: its rows in the database, and its lock in the directory beside it.
pub(crate) struct SqliteStorage {
    pub(crate) database: Database,
    pub(crate) locks: Box<dyn Storage>,
    pub(crate) stack: String,
}

impl SqliteStorage {
    /// The beginning of a snapshot, or nothing of one above the limit, and how long the whole is.
    fn select(&self, rev: &Revision, most: u64, limit: u64) -> Result<Prefix, Error> {
        let query = "SELECT substr(sealed, 1, iif(length(sealed) > ?4, 0, ?3)), length(sealed) FROM snapshots
            WHERE stack = ?1 AND revision = ?2";
        let [most, limit] = [most, limit].map(|bytes| bytes.min(1 << 40) as i64);
        let key = (&self.stack, rev.to_string(), most, limit);
        let columns = |row: &Row<'_>| Ok((row.get(0)?, i64::unsigned_abs(row.get(1)?)));
        let find = |tx: &Tx<'_>| Ok(tx.query_row(query, key, columns).optional()?);
        match self.database.run(READ, find)? {
            Some((Value::Blob(bytes), stored_bytes)) => Ok(Prefix { bytes, stored_bytes }),
            Some(_) => Err(refused(ErrorKind::Damaged, "it is empty or no blob", rev)),
            None => Err(Error::not_found(rev)),
        }
    }

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
        let found = self.select(rev, limit, limit)?;
        match found.stored_bytes <= limit {
            true => Ok(found.bytes),
            false => Err(refused(ErrorKind::TooLarge, "it is above the limit", rev)),
        }
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.select(rev, most as u64, u64::MAX)
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
        // Without a database, which one in memory stands for, an eviction would be no transaction.
        if matches!(answer, TryLock::Held(_)) && self.database.run(READ, |tx| Ok(tx.path() == Some("")))? {
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
