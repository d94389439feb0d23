//! The promises of the project, by the letters that the documentation refers to.
//!
//! Some are kept by every store, some by the backend: those that speak of directories, files and filesystems are those of the
//! crate `localstate`. `docs/guarantees.md` in the repository names the tests that try to break each, what is assumed, and what
//! is not promised.
//!
//! | | promise |
//! |---|---|
//! | W1 | once `write` or `save` has returned, the revision survives kill −9, a kernel crash and a power cut, if the disk honours flushes and the filesystem is trusted |
//! | W2 | a revision is visible whole or not at all |
//! | W3 | no write ever replaces a revision, from any number of threads or of our processes, with the clock frozen or stepping back |
//! | W4 | a write never fails because others write; n writers that collide need O(log n) tries each; writers in turn get `_1`, `_2`, `_3` |
//! | W5 | a new revision sorts after the one that was current when its write began, whatever the clock does and whatever was deleted; a current revision that is named after no time orders nothing |
//! | W6 | an error leaves no new revision and does not move `current`; `OutcomeUnknown` says that this is not known, and names the revision |
//! | W7 | a full disk leaves everything stored readable; deleting works on it; the next write after freeing space works |
//! | C1 | after a crash `current` is the old or the new revision, and what it names is readable; deleting and moving together never leave it dangling (trusted filesystem) |
//! | C2 | of two movers with the same expectation one wins, threads included (our processes, trusted filesystem) |
//! | C3 | a damaged, empty, dangling or lost `current` is an error that says what to do, never a fresh stack |
//! | C4 | once a lock is held, no change through an earlier token succeeds |
//! | L1 | one holder at a time among threads, processes and unobin, as long as nobody evicts a running unobin (trusted filesystem, directories left in place) |
//! | L2 | a holder that was killed, or is gone with a power cut, is replaced by the next waiter within 50 ms and named (trusted filesystem, no living child has its handle, the kernel has freed the dead process: several gigabytes of memory take it up to a second) |
//! | L3 | a waiter gets a lock that is given back within 5 ms (median) and 50 ms (99 of 100), with 20 waiters and after 5 s; waiting costs less than 1 % of a core |
//! | L4 | after `force_unlock` the evicted holder can neither unlock, move `current`, replace nor delete through its lock; on an untrusted filesystem it may learn it from `OutcomeUnknown` |
//! | L5 | cancelling or a deadline ends a wait within 20 ms and leaves no file, thread or handle, unless the filesystem itself hangs |
//! | L6 | if the directories are renamed or replaced under a handle, its holder gets `LockLost` and others open what the path leads to now |
//! | E1 | with a real encrypter any changed, missing or added byte of a version 2 file is an error before any plaintext is returned |
//! | E2 | a version 2 file that was moved to another revision, stack or factory does not open, nor as another payload type |
//! | E3 | a file opens under at most one data key; the reader chooses the key, never the file |
//! | E4 | no byte of a key, and with a real encrypter none of the snapshot, reaches the disk, logs, `Debug` or errors; addresses are displayed redacted |
//! | E5 | a store with a real keyring refuses plaintext and, unless told otherwise, version 1. **While you accept version 1, E2 and E3 hold for no revision** |
//! | N1 | no name reaches outside `<root>/<factory>/<stack>`, and no link or foreign file there is followed or written to |
//! | N2 | directories are 0700 and files 0600, whatever the umask |
//! | J1 | oversized, repeated, truncated, empty or non-UTF-8 input is a typed error: no panic, no memory without bound |
//! | J2 | reading and writing back changes no number and no string |
//! | I1 | every file of unobin opens to the same values, and unobin opens what is written as version 1 |
