//! The example asserts what it says, and runs here.

#[path = "../../examples/implement_encrypter.rs"]
mod implement_encrypter;

#[test]
fn the_example_of_an_encrypter_runs() {
    implement_encrypter::main().unwrap();
}
