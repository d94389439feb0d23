//! The example does what it says: it asserts that, and runs here.

#[path = "../examples/implement_encrypter.rs"]
mod implement_encrypter;

#[test]
fn an_encrypter_over_a_key_service_opens_its_own_and_nothing_else() {
    implement_encrypter::main().unwrap();
}
