use crate::database::{Access, Database, Fallible, Tx};
use rusqlite::{OptionalExtension as _, Row, types::Value};
use sdk_state::{
    Appended, Backend, Created, Error, ErrorKind, Expect, Holder, Liveness, LockInfo, LockStatus,
};
use sdk_state::{LockToken, Pointer, Prefix, Revision, StackId, TryLock};

/// One stack: its rows in the database, and its lock in the directory beside it.
pub(crate) struct SqliteBackend {
    pub(crate) database: Database,
    pub(crate) locks: Box<dyn Backend>,
    pub(crate) stack: String,
}

impl SqliteBackend {
    /// The beginning of a snapshot, or nothing of one above the limit, and how long the whole is.
    fn select(&self, rev: &Revision, most: u64, limit: u64) -> Result<Prefix, Error> {
        let query = "SELECT substr(sealed, 1, iif(length(sealed) > ?4, 0, ?3)), length(sealed) FROM snapshots
            WHERE stack = ?1 AND revision = ?2";
        let [most, limit] = [most, limit].map(|bytes| bytes.min(1 << 40) as i64);
        let columns = |row: &Row<'_>| Ok((row.get(0)?, i64::unsigned_abs(row.get(1)?)));
        self.database.run(Access::Read, Some(rev), &|tx| match tx
            .query_row(query, (&self.stack, rev.to_string(), most, limit), columns)
            .optional()?
        {
            Some((Value::Blob(bytes), stored_bytes)) => Ok(Prefix { bytes, stored_bytes }),
            Some(_) => Err(Error::new(ErrorKind::Damaged, "the snapshot is empty or no blob").into()),
            None => Err(Error::not_found(rev).into()),
        })
    }

    fn pointer(&self, tx: &Tx<'_>) -> Fallible<Option<Pointer>> {
        let query = "SELECT CAST(revision AS BLOB), version FROM pointers WHERE stack = ?1";
        let columns = |row: &Row<'_>| Ok((row.get(0)?, i64::unsigned_abs(row.get(1)?)));
        let found: Option<(Vec<u8>, u64)> = tx.query_row(query, [&self.stack], columns).optional()?;
        let pointer = found.map(|(name, version)| Ok(Pointer::new(Revision::from_pointer(&name)?, version)));
        pointer.transpose()
    }

    /// Called in the transaction of a change. Locks are taken and holders evicted in transactions too: none comes between.
    fn demand_lock(&self, token: Option<&LockToken>) -> Result<(), Error> {
        match (token, self.locks.lock_status()?) {
            (Some(_), Some(status)) if status.info.token.as_ref() == token => Ok(()),
            (Some(_), _) => Err(Error::lock_lost()),
            (None, Some(status)) if status.liveness != Liveness::Dead => Err(Error::locked(status.info)),
            (None, _) => Ok(()),
        }
    }
}

impl Backend for SqliteBackend {
    fn id(&self) -> &StackId {
        self.locks.id()
    }

    fn create(&self, rev: &Revision, sealed: &[u8]) -> Result<Created, Error> {
        if !rev.is_writable() {
            return Err(Error::new(ErrorKind::InvalidName, "a revision names a time").at_revision(rev));
        }
        let insert = "INSERT INTO snapshots VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.database.run(Access::Create, Some(rev), &|tx| match tx
            .execute(insert, (&self.stack, rev.to_string(), sealed))?
        {
            0 => Ok(Created::Exists),
            _ => Ok(Created::Created),
        })
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        let found = self.select(rev, limit, limit)?;
        let error =
            || Error::new(ErrorKind::TooLarge, "the snapshot is larger than the limit").at_revision(rev);
        (found.stored_bytes <= limit)
            .then_some(found.bytes)
            .ok_or_else(error)
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.select(rev, most as u64, u64::MAX)
    }

    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        let update = "UPDATE snapshots SET sealed = ?3 WHERE stack = ?1 AND revision = ?2";
        self.database.run(Access::Change, Some(rev), &|tx| {
            self.demand_lock(Some(token))?;
            match tx.execute(update, (&self.stack, rev.to_string(), sealed))? {
                0 => Err(Error::not_found(rev).into()),
                _ => Ok(()),
            }
        })
    }

    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        let delete = "DELETE FROM snapshots WHERE stack = ?1 AND revision = ?2";
        self.database.run(Access::Change, Some(rev), &|tx| {
            self.demand_lock(token)?;
            if self.pointer(tx)?.is_some_and(|pointer| pointer.revision == *rev) {
                let message = "the current revision cannot be deleted: make another one current first";
                return Err(Error::new(ErrorKind::RevisionIsCurrent, message).into());
            }
            tx.execute(delete, (&self.stack, rev.to_string()))?;
            Ok(())
        })
    }

    fn list(&self) -> Result<Vec<Revision>, Error> {
        let query = "SELECT revision FROM snapshots WHERE stack = ?1";
        self.database.names(query, [&self.stack])
    }

    fn current(&self) -> Result<Option<Pointer>, Error> {
        self.database.run(Access::Read, None, &|tx| self.pointer(tx))
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        let point =
            "REPLACE INTO pointers SELECT stack, revision, (SELECT max(number) FROM changes) FROM snapshots
            WHERE stack = ?1 AND revision = ?2 AND length(sealed) > 0";
        self.database.run(Access::Change, Some(rev), &|tx| {
            self.demand_lock(Some(token))?;
            if expect.reads_pointer() {
                expect.check(self.pointer(tx)?.as_ref())?;
            }
            match tx.execute(point, (&self.stack, rev.to_string()))? {
                0 => Err(Error::not_found(rev).into()),
                _ => self.pointer(tx)?.ok_or_else(|| Error::not_found(rev).into()),
            }
        })
    }

    fn append(&self, _: &Pointer, _: u64, _: &[u8], _: &LockToken) -> Result<Appended, Error> {
        Err(Error::new(
            sdk_state::ErrorKind::Unsupported,
            "no journal is kept here",
        ))
    }

    fn read_journal(&self, _: &Pointer, _: u64, _: usize) -> Result<Vec<Vec<u8>>, Error> {
        Ok(Vec::new())
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let answer = self.locks.try_lock(holder)?;
        if matches!(answer, TryLock::Held(_)) {
            // Changes that began before this lock was taken end before this transaction.
            self.database.run(Access::Create, None, &|_| Ok(()))?;
        }
        Ok(answer)
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.locks.lock_status()
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        let evict = |_: &Tx<'_>| Ok(self.locks.force_unlock(expected)?);
        self.database.run(Access::Exclude, None, &evict)
    }
}
