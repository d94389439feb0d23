//! A store over memory, compared with the model, event by event.
//!
//! Laws: every answer, errors included, is that of the model. A write gets the name that the rules give it (W3, W4, W5). A
//! moved or damaged snapshot does not open (E1, E2), a damaged pointer is never "no state yet" (C3), an evicted holder changes
//! nothing (L4).

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::store::run_history(input));
