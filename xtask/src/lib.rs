//! What tries to break the project's promises, and the checks of the house around it. `main.rs` only parses and dispatches.
//!
//! | module | is |
//! |---|---|
//! | [`props`] | random histories of calls, and many writers at once |
//! | [`crash`] | every state that a power cut can leave |
//! | [`faults`] | every call to the kernel failed once, full disks |
//! | [`torture`] | processes that are killed at random moments |
//! | [`protocol`] | a model of the journal protocol, explored to the end |
//! | [`fuzz`] | inputs that grow by coverage; the targets lie in `xtask/fuzz` |
//! | `model`, `history`, `worker` | the model of a store, histories of calls, and those who make them: `props` and `fuzz` share them |
//! | `unobin` | the stand-in for unobin: `props` and `torture` share it |
//! | `oracle` | tells whether two workers are in a critical section at once: `props` and `torture` share it |
//! | `place`, `report`, [`task`] | a store in a directory, what a task prints, the processes that it starts and traces |
//! | [`ci`], [`house`], [`public_api`], [`instructions`], [`mod@bench`] | what CI runs, and what it compares with what is recorded |

pub mod bench;
pub mod ci;
pub mod crash;
pub mod faults;
pub mod fuzz;
mod history;
pub mod house;
pub mod instructions;
mod model;
mod oracle;
mod place;
pub mod props;
pub mod protocol;
pub mod public_api;
mod report;
pub mod task;
pub mod torture;
mod unobin;
mod worker;
mod workspace;

/// The programs of these pages, which run as tests. They stand here because this package is never published: a published
/// one could not reach the pages.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/cookbook.md")]
    mod cookbook {}
    #[doc = include_str!("../../docs/tokio.md")]
    mod tokio {}
    #[doc = include_str!("../../docs/own-document.md")]
    mod own_document {}
    #[doc = include_str!("../../docs/import.md")]
    mod import {}
}
