//! Every example does what it says: each asserts it, and runs here.

#[path = "../../examples/executor.rs"]
mod executor;
#[path = "../../examples/rotate_key.rs"]
mod rotate_key;
#[path = "../../examples/wait_with_deadline.rs"]
mod wait_with_deadline;

#[test]
fn an_executor_that_is_stopped_or_evicted_loses_no_change() {
    executor::main().unwrap();
}

#[test]
fn the_old_key_does_not_open_what_the_new_one_seals() {
    rotate_key::main().unwrap();
}

#[test]
fn a_wait_ends_in_each_of_its_ways() {
    wait_with_deadline::main().unwrap();
}
