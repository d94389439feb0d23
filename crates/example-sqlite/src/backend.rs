use crate::database::{Database, Fallible};
use rusqlite::{OptionalExtension as _, Row, Transaction, TransactionBehavior as Access};
use sdk_state::{
    Appended, Backend, Created, Error, ErrorKind, Expect, Holder, Irregularity, Liveness, LockInfo,
    LockStatus,
};
use sdk_state::{LockToken, MAX_RECORD_BYTES, Pointer, Prefix, Revision, StackId, TryLock};

/// One stack: its rows in the database, and its lock in the directory beside it.
pub(crate) struct SqliteBackend {
    pub(crate) database: Database,
    pub(crate) locks: Box<dyn Backend>,
    pub(crate) stack: String,
}

impl SqliteBackend {
    /// Loads at most the first `most` bytes of a snapshot, and nothing of one above the limit.
    fn load(&self, rev: &Revision, most: usize, limit: u64) -> Result<Prefix, Error> {
        let find = "SELECT rowid FROM snapshots WHERE stack = ?1 AND revision = ?2";
        self.database.run(Access::Deferred, Some(rev), &|tx| {
            let row = tx.query_one(find, (&self.stack, rev.to_string()), |row| row.get(0))?;
            let blob = tx.blob_open("main", "snapshots", "sealed", row, true)?;
            let stored_bytes = blob.len() as u64;
            if stored_bytes == 0 {
                return Err(Error::new(ErrorKind::Damaged, "the snapshot is empty").into());
            }
            if stored_bytes > limit {
                return Err(Error::new(ErrorKind::TooLarge, "the snapshot is larger than the limit").into());
            }
            let mut bytes = vec![0; blob.len().min(most)];
            blob.read_at_exact(&mut bytes, 0)?;
            Ok(Prefix { bytes, stored_bytes })
        })
    }

    fn pointer(&self, tx: &Transaction<'_>) -> Fallible<Option<Pointer>> {
        let mut query = tx.prepare("SELECT revision, version FROM pointers WHERE stack = ?1")?;
        let mut found = query.query([&self.stack])?;
        let Some(row) = found.next()? else { return Ok(None) };
        let revision = Revision::from_pointer(row.get_ref(0)?.as_bytes()?)?;
        Ok(Some(Pointer::new(revision, i64::unsigned_abs(row.get(1)?))))
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
        self.database.make(Some(rev))?;
        let insert = "INSERT INTO snapshots VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.database.run(Access::Immediate, Some(rev), &|tx| {
            // A taken name is an answer, not an error.
            match tx.execute(insert, (&self.stack, rev.to_string(), sealed))? {
                0 => Ok(Created::Exists),
                _ => Ok(Created::Created),
            }
        })
    }

    fn read(&self, rev: &Revision, limit: u64) -> Result<Vec<u8>, Error> {
        Ok(self.load(rev, usize::MAX, limit)?.bytes)
    }

    fn read_prefix(&self, rev: &Revision, most: usize) -> Result<Prefix, Error> {
        self.load(rev, most, u64::MAX)
    }

    fn replace(&self, rev: &Revision, sealed: &[u8], token: &LockToken) -> Result<(), Error> {
        let update = "UPDATE snapshots SET sealed = ?3 WHERE stack = ?1 AND revision = ?2 RETURNING 1";
        self.database.run(Access::Immediate, Some(rev), &|tx| {
            self.demand_lock(Some(token))?;
            Ok(tx.query_one(update, (&self.stack, rev.to_string(), sealed), |_| Ok(()))?)
        })
    }

    fn remove(&self, rev: &Revision, token: Option<&LockToken>) -> Result<(), Error> {
        let delete = "DELETE FROM snapshots WHERE stack = ?1 AND revision = ?2";
        self.database.run(Access::Immediate, Some(rev), &|tx| {
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
        self.database
            .names("SELECT revision FROM snapshots WHERE stack = ?1", [&self.stack])
    }

    fn inspect(&self) -> Result<Vec<Irregularity>, Error> {
        self.locks.inspect()
    }

    fn current(&self) -> Result<Option<Pointer>, Error> {
        self.database.run(Access::Deferred, None, &|tx| self.pointer(tx))
    }

    fn set_current(&self, expect: Expect<'_>, rev: &Revision, token: &LockToken) -> Result<Pointer, Error> {
        let point = "INSERT INTO pointers SELECT stack, revision, (SELECT max(number) FROM changes)
            FROM snapshots WHERE stack = ?1 AND revision = ?2 AND length(sealed) > 0
            ON CONFLICT DO UPDATE SET revision = excluded.revision,
                version = iif(revision = excluded.revision, version, excluded.version) RETURNING version";
        let end = "DELETE FROM records WHERE stack = ?1 AND version <> ?2";
        self.database.run(Access::Immediate, Some(rev), &|tx| {
            self.demand_lock(Some(token))?;
            if expect.reads_pointer() {
                expect.check(self.pointer(tx)?.as_ref())?;
            }
            let version: i64 = tx.query_one(point, (&self.stack, rev.to_string()), |row| row.get(0))?;
            tx.execute(end, (&self.stack, version))?;
            Ok(Pointer::new(rev.clone(), version.unsigned_abs()))
        })
    }

    fn append(
        &self,
        base: &Pointer,
        index: u64,
        record: &[u8],
        token: &LockToken,
    ) -> Result<Appended, Error> {
        let last = "SELECT number, record FROM records WHERE stack = ?1 AND version = ?2
            ORDER BY number DESC LIMIT 1";
        let insert = "INSERT INTO records VALUES (?1, ?2, ?3, ?4)";
        self.database.run(Access::Immediate, None, &|tx| {
            self.demand_lock(Some(token))?;
            Expect::Pointer(base).check(self.pointer(tx)?.as_ref())?;
            let version = base.version.cast_signed();
            let columns = |row: &Row<'_>| Ok((i64::unsigned_abs(row.get(0)?), row.get(1)?));
            let last: Option<(u64, Vec<u8>)> =
                tx.query_one(last, (&self.stack, version), columns).optional()?;
            if last.as_ref().map(|(number, _)| *number) == index.checked_sub(1) {
                tx.execute(insert, (&self.stack, version, index.cast_signed(), record))?;
                return Ok(Appended::Appended);
            }
            // A repeated call whose first answer was lost is already done.
            match last {
                Some((number, found)) if number == index && found == record => Ok(Appended::Appended),
                _ => Ok(Appended::Taken),
            }
        })
    }

    fn read_journal(&self, base: &Pointer, from: u64, most: usize) -> Result<Vec<Vec<u8>>, Error> {
        let query = "SELECT iif(length(record) > ?4, NULL, record) FROM records
            WHERE stack = ?1 AND version = ?2 AND number >= ?3 ORDER BY number";
        let [from, limit] = [from, MAX_RECORD_BYTES as u64].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        self.database.run(Access::Deferred, None, &|tx| {
            let (mut page, mut room) = (Vec::new(), most);
            if self.pointer(tx)?.as_ref() != Some(base) {
                return Ok(page);
            }
            let mut query = tx.prepare(query)?;
            let mut rows = query.query((&self.stack, base.version.cast_signed(), from, limit))?;
            while let Some(row) = rows.next()? {
                let record: Option<Vec<u8>> = row.get(0)?;
                let record = record.ok_or_else(|| Error::new(ErrorKind::Damaged, "a record is too long"))?;
                if !page.is_empty() {
                    let Some(rest) = room.checked_sub(record.len()) else {
                        break;
                    };
                    room = rest;
                }
                page.push(record);
            }
            Ok(page)
        })
    }

    fn try_lock(&self, holder: &Holder) -> Result<TryLock, Error> {
        let answer = self.locks.try_lock(holder)?;
        if matches!(answer, TryLock::Held(_)) {
            self.database.make(None)?;
            // Changes that began before this lock was taken end before this transaction.
            self.database.run(Access::Immediate, None, &|_| Ok(()))?;
        }
        Ok(answer)
    }

    fn lock_status(&self) -> Result<Option<LockStatus>, Error> {
        self.locks.lock_status()
    }

    fn force_unlock(&self, expected: Option<&LockToken>) -> Result<Option<LockInfo>, Error> {
        self.database.run(Access::Exclusive, None, &|_| {
            Ok(self.locks.force_unlock(expected)?)
        })
    }
}
