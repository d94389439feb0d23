//! The published vectors of everything that the encrypters are built of. They pin the crates that we depend on: another
//! version, another back end or another set of features must compute the same.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, XChaCha20Poly1305};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(byte).to_digit(16).map_or(0xFF, |digit| digit as u8))
        .collect();
    assert!(
        digits.len().is_multiple_of(2) && digits.iter().all(|digit| *digit < 16),
        "hexadecimal: {text}"
    );
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn hkdf_sha_256_matches_rfc_5869() {
    // Salt, input, info, output.
    let cases = [
        (
            "000102030405060708090a0b0c",
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f
             808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f
             a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
             202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f
             404142434445464748494a4b4c4d4e4f",
            "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf
             d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef
             f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c
             59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71
             cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "",
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (salt, input, info, output) in cases {
        let salt = hex(salt);
        let expected = hex(output);
        let mut derived = vec![0; expected.len()];
        Hkdf::<Sha256>::new(Some(&salt), &hex(input))
            .expand(&hex(info), &mut derived)
            .unwrap();
        assert_eq!(derived, expected);
        if salt.is_empty() {
            // What the encrypters write for an empty salt.
            Hkdf::<Sha256>::new(None, &hex(input))
                .expand(&hex(info), &mut derived)
                .unwrap();
            assert_eq!(derived, expected);
        }
    }
}

#[test]
fn hmac_sha_256_matches_rfc_4231() {
    let long_key = "aa".repeat(131);
    // Key, data, tag. Case 5 of the RFC is a truncated tag, which we never use.
    let cases = [
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "4869205468657265",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            "4a656665",
            "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            &"dd".repeat(50),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            "0102030405060708090a0b0c0d0e0f10111213141516171819",
            &"cd".repeat(50),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (
            &long_key,
            "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a
             65204b6579202d2048617368204b6579204669727374",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &long_key,
            "5468697320697320612074657374207573696e672061206c6172676572207468
             616e20626c6f636b2d73697a65206b657920616e642061206c61726765722074
             68616e20626c6f636b2d73697a6520646174612e20546865206b6579206e6565
             647320746f20626520686173686564206265666f7265206265696e6720757365
             642062792074686520484d414320616c676f726974686d2e",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];
    for (key, data, tag) in cases {
        let mut mac = Hmac::<Sha256>::new_from_slice(&hex(key)).unwrap();
        mac.update(&hex(data));
        assert_eq!(mac.finalize().as_bytes().as_slice(), hex(tag));
    }
}

const SUNSCREEN: &[u8] =
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
const SUNSCREEN_KEY: &str = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
const SUNSCREEN_DATA: &str = "50515253c0c1c2c3c4c5c6c7";

/// Seals and opens, and opens nothing of which one bit was changed.
fn check<C: Aead + KeyInit>(key: &str, nonce: &str, associated_data: &str, plaintext: &[u8], sealed: &str) {
    let cipher = C::new_from_slice(&hex(key)).unwrap();
    let nonce = hex(nonce);
    let nonce = nonce.as_slice().try_into().unwrap();
    let aad = &hex(associated_data);
    let sealed = hex(sealed);
    assert_eq!(
        cipher.encrypt(nonce, Payload { msg: plaintext, aad }),
        Ok(sealed.clone())
    );
    assert_eq!(
        cipher.decrypt(nonce, Payload { msg: &sealed, aad }).as_deref(),
        Ok(plaintext)
    );
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1 << (index % 8);
        let opened = cipher.decrypt(nonce, Payload { msg: &changed, aad });
        assert!(opened.is_err(), "byte {index} changed");
    }
}

#[test]
fn chacha20_poly1305_matches_rfc_8439() {
    check::<ChaCha20Poly1305>(
        SUNSCREEN_KEY,
        "070000004041424344454647",
        SUNSCREEN_DATA,
        SUNSCREEN,
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
         3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
         92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
         3ff4def08e4b7a9de576d26586cec64b6116
         1ae10b594f09e26a7e902ecbd0600691",
    );
}

#[test]
fn xchacha20_poly1305_matches_its_draft() {
    check::<XChaCha20Poly1305>(
        SUNSCREEN_KEY,
        "404142434445464748494a4b4c4d4e4f5051525354555657",
        SUNSCREEN_DATA,
        SUNSCREEN,
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb
         731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452
         2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9
         21f9664c97637da9768812f615c68b13b52e
         c0875924c1c7987947deafd8780acf49",
    );
}

#[cfg(feature = "legacy-aes-gcm")]
#[test]
fn aes_256_gcm_matches_its_test_cases_13_to_16() {
    let zeros = "00".repeat(32);
    let key = "feffe9928665731c6d6a8f9467308308".repeat(2);
    let plaintext = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255");
    // Key, nonce, associated data, plaintext, ciphertext and tag.
    let cases: [(&str, &str, &str, &[u8], &str); 4] = [
        (
            &zeros,
            "000000000000000000000000",
            "",
            &[],
            "530f8afbc74536b9a963b4f1c4cb738b",
        ),
        (
            &zeros,
            "000000000000000000000000",
            "",
            &[0; 16],
            "cea7403d4d606b6e074ec5d3baf39d18 d0d1c8a799996bf0265b98b5d48ab919",
        ),
        (
            &key,
            "cafebabefacedbaddecaf888",
            "",
            &plaintext,
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad
             b094dac5d93471bdec1a502270e3cc6c",
        ),
        (
            &key,
            "cafebabefacedbaddecaf888",
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            &plaintext[..60],
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662
             76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ];
    for (key, nonce, associated_data, plaintext, sealed) in cases {
        check::<aes_gcm::Aes256Gcm>(key, nonce, associated_data, plaintext, sealed);
    }
}

/// Section 5.3: Argon2id with a secret and associated data, which the encrypters do not use.
#[cfg(feature = "passphrase")]
#[test]
fn argon2id_matches_rfc_9106() {
    use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
    let mut parameters = ParamsBuilder::new();
    parameters.m_cost(32).t_cost(3).p_cost(4).output_len(32);
    parameters.data(AssociatedData::new(&[4; 12]).unwrap());
    let argon2 = Argon2::new_with_secret(
        &[3; 8],
        Algorithm::Argon2id,
        Version::V0x13,
        parameters.build().unwrap(),
    );
    let mut tag = [0; 32];
    argon2
        .unwrap()
        .hash_password_into(&[1; 32], &[2; 16], &mut tag)
        .unwrap();
    let expected = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";
    assert_eq!(tag.as_slice(), hex(expected));
}
