//! Every example does what it says: each asserts it, and runs here.

#[path = "../../examples/compare_and_set.rs"]
mod compare_and_set;
#[path = "../../examples/rotate_key.rs"]
mod rotate_key;
#[path = "../../examples/wait_with_deadline.rs"]
mod wait_with_deadline;
#[path = "../../examples/write_and_read_back.rs"]
mod write_and_read_back;

#[test]
fn two_writers_lose_no_change() {
    compare_and_set::main().unwrap();
}

#[test]
fn the_old_key_does_not_open_what_the_new_one_seals() {
    rotate_key::main().unwrap();
}

#[test]
fn a_wait_ends_in_each_of_its_ways() {
    wait_with_deadline::main().unwrap();
}

#[test]
fn a_run_is_read_back() {
    write_and_read_back::main().unwrap();
}
