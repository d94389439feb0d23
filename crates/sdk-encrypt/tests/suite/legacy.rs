//! The cipher of envelope version 1, against a file that unobin wrote.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sdk_encrypt::{EnvKey, LegacyCipher, MasterKey};
use serde_json::{Value, json};

fn key() -> MasterKey {
    MasterKey::from_base64(include_str!("../unobin/key.base64")).unwrap()
}

fn cipher(key: MasterKey) -> LegacyCipher {
    EnvKey::new("UB_STATE_KEY", key).legacy()
}

fn envelope() -> Value {
    serde_json::from_str(include_str!("../unobin/empty-snapshot.json.enc")).unwrap()
}

fn ciphertext() -> Vec<u8> {
    STANDARD
        .decode(envelope()["ciphertext"].as_str().unwrap())
        .unwrap()
}

#[test]
fn what_the_original_wrote_opens_to_the_snapshot_that_it_was() {
    let plaintext = cipher(key()).decrypt(ciphertext()).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&plaintext).unwrap(),
        json!({
            "format-version": 1,
            "factory": { "name": "network", "version": "v1", "content-revision": "x" },
            "stack": "empty",
            "generated-at": "2026-05-01T12:00:00Z",
            "entries": null,
        })
    );
    assert_eq!(plaintext.last(), Some(&b'\n'), "not a byte more or less");
    assert_eq!(plaintext.len(), ciphertext().len() - 12 - 16);
}

#[test]
fn what_is_recorded_is_what_the_original_records() {
    let recipient = cipher(key()).recipient();
    assert_eq!(recipient.name, envelope()["encrypter"]["name"]);
    assert_eq!(
        serde_json::to_value(recipient.body).unwrap(),
        envelope()["encrypter"]["body"]
    );
}

#[test]
fn another_key_opens_nothing() {
    let mut bytes = STANDARD
        .decode(include_str!("../unobin/key.base64").trim())
        .unwrap();
    bytes[31] ^= 1;
    for other in [
        MasterKey::generate().unwrap(),
        MasterKey::from_base64(&STANDARD.encode(bytes)).unwrap(),
    ] {
        assert_eq!(cipher(other).decrypt(ciphertext()), None);
    }
}

#[test]
fn a_changed_bit_or_another_length_opens_nothing() {
    let cipher = cipher(key());
    let sealed = cipher.encrypt(b"{\"password\": \"x\"}".to_vec()).unwrap();
    for bit in 0..8 * sealed.len() {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(cipher.decrypt(changed), None, "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert_eq!(cipher.decrypt(sealed[..length].to_vec()), None, "cut to {length}");
        assert_eq!(
            cipher.decrypt(sealed[length + 1..].to_vec()),
            None,
            "cut before {length}"
        );
    }
    let longer = [&sealed[..], &[0]].concat();
    assert_eq!(cipher.decrypt(longer), None);
    assert!(cipher.decrypt(sealed).is_some(), "unchanged it opens");
}

#[test]
fn encrypting_twice_gives_different_bytes() {
    let cipher = cipher(key());
    for plaintext in [vec![], vec![0], vec![0xA5; 12], vec![7; 100_000]] {
        let sealed = cipher.encrypt(plaintext.clone()).unwrap();
        assert_eq!(sealed.len(), 12 + plaintext.len() + 16);
        assert_ne!(
            sealed,
            cipher.encrypt(plaintext.clone()).unwrap(),
            "the nonce is fresh"
        );
        assert_eq!(cipher.decrypt(sealed), Some(plaintext));
    }
}
