use super::*;
use proptest::prelude::*;

/// Every member once, with the text that a secret would have.
const FULL: &str = concat!(
    r#"{"format-version":1,"#,
    r#""factory":{"name":"hunter2","version":"hunter2","content-revision":"hunter2","x-f":["hunter2"]},"#,
    r#""stack":"hunter2","generated-at":"2026-07-10T12:00:00.1+02:00","entries":["#,
    r#"{"address":"hunter2","entry-kind":"library-call","category":"data-source","#,
    r#""binding":{"alias":"hunter2","library-path":"hunter2","kind":"hunter2","x-b":{"hunter2":1}},"#,
    r#""schema-version":0,"sensitive-inputs":["hunter2"],"sensitive-outputs":["hunter2","a"],"#,
    r#""trigger-hash":"hunter2","inputs":{"hunter2":"hunter2"},"outputs":{"hunter2":[1.10,-0]},"#,
    r#""depends-on":["hunter2"],"x-e":null},"#,
    r#"{"address":"hunter2-b","entry-kind":"leaf","category":"resource","#,
    r#""binding":{"alias":"hunter2","kind":"hunter2"}}],"#,
    r#""outputs":{"hunter2":{}},"x-d":"hunter2","hunter2":{}}"#
);
const ENTRY: &str =
    r#""address":"a","entry-kind":"leaf","category":"resource","binding":{"alias":"b","kind":"k"}"#;

fn document(entries: &str) -> String {
    format!(
        r#"{{"format-version":1,"factory":{{"name":"f","version":"","content-revision":""}},"stack":"s","generated-at":"","entries":{entries}}}"#
    )
}

/// The document whose second entry has these members.
fn second(members: &str) -> String {
    document(&format!("[{{{ENTRY}}},{{{members}}}]"))
}

fn written(state: &State) -> String {
    String::from_utf8(state.encode().unwrap()).unwrap()
}

fn rewritten(text: &str) -> String {
    let state = State::decode(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
    let written = written(&state);
    match state.check_values() {
        Ok(()) => assert_eq!(normalized(text).unwrap(), written),
        Err(_) => assert!(normalized(text).is_err()),
    }
    written
}

fn normalized(text: &str) -> Result<String, Error> {
    let (_, bytes) = normalize::normalized(text.as_bytes())?;
    Ok(String::from_utf8(bytes).unwrap())
}

fn refusal(text: impl AsRef<[u8]>) -> String {
    let error = State::decode(text.as_ref()).unwrap_err();
    let again = normalize::normalized(text.as_ref()).err().unwrap();
    let without_place = |error: &Error| error.to_string().split(" at line").next().map(str::to_owned);
    assert_eq!(without_place(&again), without_place(&error));
    assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot);
    assert!(std::error::Error::source(&error).is_none());
    format!("{error} {error:?}")
}

#[test]
fn a_document_is_written_as_it_was_read() {
    assert_eq!(rewritten(FULL), FULL);
    let empty = document("[]");
    assert_eq!(rewritten(&empty), empty);
}

#[test]
fn the_text_is_as_long_as_was_reserved_for_it() {
    for text in [
        FULL.to_owned(),
        document("[]"),
        second(&ENTRY.replace(r#""a""#, r#""b""#)),
    ] {
        let state = State::decode(text.as_bytes()).unwrap();
        let reserved = state.length();
        assert!(
            (text.len()..text.len() + 40).contains(&reserved),
            "{reserved}: {text}"
        );
    }
}

#[test]
fn no_number_and_no_string_in_a_raw_value_changes() {
    for value in [
        "9007199254740993",
        "18446744073709551616",
        "1e400",
        "123456789012345678901234567890",
        "-0",
        "1.10",
        r#""\u0061\/\ud83d\ude80\ud83d é 🚀\n""#,
    ] {
        for member in ["inputs", "outputs", "unknown"] {
            let text = document(&format!(r#"[{{{ENTRY},"{member}":{{"v":{value}}}}}]"#));
            assert_eq!(rewritten(&text), text);
            let read = State::decode(rewritten(&text).replace(',', ",\n").as_bytes()).unwrap();
            assert_eq!(written(&read), text);
        }
    }
}

#[test]
fn an_indented_document_and_a_compact_one_give_the_same_bytes() {
    let indented = State::decode(FULL.as_bytes()).unwrap().to_indented().unwrap();
    assert!(indented.starts_with("{\n  \"format-version\": 1,\n  \"factory\": {\n    \"name\""));
    assert_eq!(rewritten(&indented), FULL);
    assert_eq!(rewritten(&indented.replace('\n', "\r\n")), FULL);
}

#[test]
fn null_is_the_same_as_absent() {
    let nulls = r#"{"format-version":1,"factory":{"name":null,"version":null,"content-revision":null},"stack":null,
        "generated-at":null,"outputs":null,"entries":[{"address":"a","entry-kind":"leaf","category":"resource",
        "binding":{"alias":"b","library-path":null,"kind":"k"},"schema-version":null,"sensitive-inputs":null,
        "sensitive-outputs":null,"trigger-hash":null,"inputs":null,"outputs":null,"depends-on":null}]}"#;
    let absent = format!(r#"{{"format-version":1,"entries":[{{{ENTRY}}}]}}"#);
    let expected = document(&format!("[{{{ENTRY}}}]"))
        .replace(r#""f""#, r#""""#)
        .replace(r#""s""#, r#""""#);
    assert_eq!(rewritten(nulls), expected);
    assert_eq!(rewritten(&absent), expected);
    for text in [
        r#"{"format-version":1,"factory":null,"entries":null}"#,
        r#"{"format-version":1}"#,
    ] {
        assert_eq!(
            rewritten(text),
            r#"{"format-version":1,"factory":{"name":"","version":"","content-revision":""},"stack":"","generated-at":"","entries":[]}"#
        );
    }
}

#[test]
fn what_is_empty_is_left_out_and_what_is_zero_is_not() {
    let text = document(&format!(
        r#"[{{{ENTRY},"schema-version":0,"sensitive-inputs":[],"sensitive-outputs":[],"trigger-hash":"","inputs":{{ }},"outputs":{{
        }},"depends-on":[]}}]"#
    ));
    let expected = document(&format!(r#"[{{{ENTRY},"schema-version":0}}]"#));
    assert_eq!(rewritten(&text), expected);
    assert!(State::decode(text.as_bytes()).unwrap() == State::decode(expected.as_bytes()).unwrap());
}

#[test]
fn unknown_members_keep_their_order_after_the_known_ones() {
    let text = r#"{"z":1,"a":{"a":2,"a":3},"format-version":1,"factory":{"y\n":1,"name":"f","b":2},"stack":"s",
        "entries":[{"x":1,"address":"a","c":null,"category":"resource","entry-kind":"leaf",
        "binding":{"w":[],"kind":"k","d":{},"alias":"b"}}]}"#;
    assert_eq!(
        rewritten(text),
        concat!(
            r#"{"format-version":1,"factory":{"name":"f","version":"","content-revision":"","y\n":1,"b":2},"#,
            r#""stack":"s","generated-at":"","entries":[{"address":"a","entry-kind":"leaf","category":"resource","#,
            r#""binding":{"alias":"b","kind":"k","w":[],"d":{}},"x":1,"c":null}],"z":1,"a":{"a":2,"a":3}}"#
        )
    );
}

#[test]
fn names_and_values_may_be_spelt_with_escapes() {
    let plain = document(&format!("[{{{ENTRY}}}]"));
    let escaped = plain
        .replace("address", r"\u0061ddress")
        .replace("leaf", r"l\u0065af")
        .replace(r#""k""#, r#""\u006b""#);
    assert_ne!(escaped, plain);
    assert_eq!(rewritten(&escaped), plain);
}

#[test]
fn each_rule_that_an_entry_breaks_is_told_with_its_position() {
    let with = |from: &str, to: &str| {
        let members = ENTRY.replace(r#""a""#, r#""second""#);
        assert!(members.contains(from), "{from}");
        second(&members.replace(from, to))
    };
    for (text, rule) in [
        (with(r#""address":"second","#, ""), "address is missing"),
        (with(r#""second""#, r#""""#), "address is missing"),
        (with(r#""second""#, "null"), "address is missing"),
        (with(r#""second""#, r#""a""#), "address is that of entry 1"),
        (with(r#""second""#, "1"), "address: expected a string"),
        (with(r#""entry-kind":"leaf","#, ""), "entry-kind is missing"),
        (with(r#""leaf""#, "null"), "entry-kind is missing"),
        (
            with("leaf", "Leaf"),
            "entry-kind: expected leaf, library-call, action or data-source",
        ),
        (with(r#""leaf""#, "7"), "entry-kind: expected a string"),
        (with("leaf", "action"), "category does not fit entry-kind"),
        (with("leaf", "data-source"), "category does not fit entry-kind"),
        (
            with(r#""category":"resource""#, r#""category":"action""#),
            "category does not fit entry-kind",
        ),
        (
            with(r#""category":"resource""#, r#""category":"data-source""#),
            "category does not fit entry-kind",
        ),
        (with(r#""category":"resource","#, ""), "category is missing"),
        (
            with(r#""category":"resource""#, r#""category":null"#),
            "category is missing",
        ),
        (
            with(r#""category":"resource""#, r#""category":"""#),
            "category: expected resource, data-source or action",
        ),
        (
            with(r#","binding":{"alias":"b","kind":"k"}"#, ""),
            "binding is missing",
        ),
        (with(r#"{"alias":"b","kind":"k"}"#, "null"), "binding is missing"),
        (
            with(r#"{"alias":"b","kind":"k"}"#, "[]"),
            "binding: expected a binding",
        ),
        (with(r#""alias":"b","#, ""), "binding: alias is missing"),
        (
            with(r#""alias":"b""#, r#""alias":"""#),
            "binding: alias is missing",
        ),
        (with(r#","kind":"k""#, ""), "binding: kind is missing"),
        (with(r#""kind":"k""#, r#""kind":"""#), "binding: kind is missing"),
        (
            with(r#""kind":"k""#, r#""kind":{}"#),
            "binding: kind: expected a string",
        ),
        (
            with(r#""kind":"k"}"#, r#""kind":"k"},"inputs":[]"#),
            "inputs: expected an object",
        ),
        (
            with(r#""kind":"k"}"#, r#""kind":"k"},"outputs":"{}""#),
            "outputs: expected an object",
        ),
        (
            with(r#""kind":"k"}"#, r#""kind":"k"},"schema-version":1.0"#),
            "schema-version: expected an integer of 64 bits",
        ),
        (
            with(r#""kind":"k"}"#, r#""kind":"k"},"schema-version":-0"#),
            "schema-version: expected an integer of 64 bits",
        ),
        (
            with(r#""kind":"k"}"#, r#""kind":"k"},"depends-on":"a""#),
            "depends-on: expected a list of strings",
        ),
        (
            with(r#""kind":"k"}"#, r#""kind":"k"},"depends-on":[null]"#),
            "depends-on: expected a string",
        ),
        (document(&format!("[{{{ENTRY}}},null]")), "expected an entry"),
    ] {
        let error = refusal(&text);
        assert!(error.contains(&format!(": entry 2: {rule}")), "{error}: {text}");
    }
}

#[test]
fn each_category_that_fits_its_kind_is_accepted() {
    for (kind, category) in [
        ("leaf", "resource"),
        ("library-call", "resource"),
        ("library-call", "data-source"),
        ("library-call", "action"),
        ("action", "action"),
        ("data-source", "data-source"),
    ] {
        let text = document(&format!("[{{{ENTRY}}}]"));
        let text = text
            .replace("leaf", kind)
            .replace(r#":"resource""#, &format!(r#":"{category}""#));
        assert_eq!(rewritten(&text), text);
    }
}

#[test]
fn each_rule_that_the_document_breaks_is_told() {
    let empty = document("[]");
    let with = |from: &str, to: &str| {
        assert!(empty.contains(from), "{from}");
        empty.replace(from, to)
    };
    for (text, rule) in [
        (with(r#""format-version":1,"#, ""), "format-version is missing"),
        (
            with(r#"-version":1"#, r#"-version":null"#),
            "format-version is missing",
        ),
        (
            with(r#"-version":1"#, r#"-version":2"#),
            "format-version: expected 1",
        ),
        (
            with(r#"-version":1"#, r#"-version":1.0"#),
            "format-version: expected an integer",
        ),
        (
            with(r#"-version":1"#, r#"-version":"1""#),
            "format-version: expected an integer",
        ),
        (with(r#""s""#, "1"), "stack: expected a string"),
        (
            with(r#"generated-at":"""#, r#"generated-at":"yesterday""#),
            "generated-at: expected a time",
        ),
        (
            with(r#"generated-at":"""#, r#"generated-at":"2026-07-10 12:00:00""#),
            "generated-at: expected a time",
        ),
        (with("[]", "{}"), "expected a list of entries"),
        (with("[]", r#"[],"outputs":[]"#), "outputs: expected an object"),
        (with("[]", "[],"), "expected the name of a member"),
        (format!("{empty} {{}}"), "expected the end of the text"),
        ("[]".into(), "expected a snapshot"),
        (String::new(), "expected a snapshot, and the text ends"),
    ] {
        let error = refusal(&text);
        assert!(
            error.contains(&format!("the snapshot is not valid: {rule}")),
            "{error}: {text}"
        );
    }
}

#[test]
fn a_repeated_member_is_refused_however_it_is_spelt() {
    let unknown = r#""u":1,"v":2,"\u0075":3,"#;
    for (from, to, rule) in [
        (r#"{"format"#, r#"{"stack":"x","format"#, "stack is there twice"),
        (
            r#"{"format"#,
            r#"{"format-\u0076ersion":1,"format"#,
            "format-version is there twice",
        ),
        (
            r#"{"format"#,
            r#"{"outputs":null,"outputs":null,"format"#,
            "outputs is there twice",
        ),
        (
            r#"{"format"#,
            &format!(r#"{{{unknown}"format"#),
            "an unknown member is there twice",
        ),
        (
            r#"{"name"#,
            r#"{"n\u0061me":"x","name"#,
            "factory: name is there twice",
        ),
        (
            r#"{"name"#,
            &format!(r#"{{{unknown}"name"#),
            "factory: an unknown member is there twice",
        ),
        (
            r#"{"address"#,
            r#"{"category":null,"address"#,
            "entry 1: category is there twice",
        ),
        (
            r#"{"address"#,
            &format!(r#"{{{unknown}"address"#),
            "entry 1: an unknown member is there twice",
        ),
        (
            r#"{"alias"#,
            r#"{"kind":"x","alias"#,
            "entry 1: binding: kind is there twice",
        ),
        (
            r#"{"alias"#,
            &format!(r#"{{{unknown}"alias"#),
            "entry 1: binding: an unknown member is there twice",
        ),
    ] {
        let text = document(&format!("[{{{ENTRY}}}]")).replacen(from, to, 1);
        let error = refusal(&text);
        assert!(
            error.contains(&format!("the snapshot is not valid: {rule}")),
            "{error}: {text}"
        );
    }
}

#[test]
fn values_are_checked_on_request_wherever_they_are() {
    let twice = r#"{"a":1,"\u0061":2}"#;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(128), "]".repeat(128));
    let base = second(&ENTRY.replace(r#""a""#, r#""b""#));
    for (from, to, place) in [
        ("{\"format", "{\"outputs\":*,\"format", "outputs"),
        ("{\"format", "{\"u\":*,\"format", "an unknown member"),
        ("{\"name", "{\"u\":*,\"name", "factory: an unknown member"),
        (
            "{\"address\":\"b",
            "{\"inputs\":*,\"address\":\"b",
            "entry 2: inputs",
        ),
        (
            "{\"address\":\"b",
            "{\"outputs\":*,\"address\":\"b",
            "entry 2: outputs",
        ),
        (
            "{\"address\":\"b",
            "{\"u\":*,\"address\":\"b",
            "entry 2: an unknown member",
        ),
        (
            "{\"alias",
            "{\"u\":*,\"alias",
            "entry 1: binding: an unknown member",
        ),
    ] {
        for (value, flaw) in [
            (twice, "a member twice"),
            (&deep, "128 levels"),
            (r#"{"a":1}"#, ""),
        ] {
            let text = base.replacen(from, &to.replace('*', value), 1);
            let state = State::decode(text.as_bytes()).unwrap();
            let normalized = normalized(&text)
                .err()
                .map_or(String::new(), |error| error.to_string());
            assert!(
                normalized.contains(flaw) && normalized.contains(place) || flaw.is_empty(),
                "{normalized}"
            );
            assert_eq!(normalized.is_empty(), flaw.is_empty());
            match state.check_values() {
                Ok(()) => assert_eq!(flaw, "", "{text}"),
                Err(error) => {
                    assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot);
                    let message = error.to_string();
                    assert!(!flaw.is_empty() && message.contains(flaw), "{message}");
                    assert!(message.contains(&format!("valid: {place}: ")), "{message}");
                }
            }
        }
    }
}

#[test]
fn a_document_that_is_cut_anywhere_is_refused() {
    let text = format!("{FULL} ");
    for length in 0..FULL.len() {
        refusal(&text.as_bytes()[..length]);
    }
    assert_eq!(rewritten(&text), FULL);
}

#[test]
fn a_document_that_is_not_utf_8_is_refused() {
    for bytes in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf"] {
        let (before, after) = FULL.split_at(FULL.find("hunter2").unwrap());
        let text = [before.as_bytes(), bytes, after.as_bytes()].concat();
        assert!(refusal(&text).contains(&format!("not UTF-8 at byte {}", before.len() + 1)));
    }
}

#[test]
fn a_million_levels_neither_overflow_the_stack_nor_the_memory() {
    let (open, close) = ("[".repeat(1_000_000), "]".repeat(1_000_000));
    let members = ENTRY.replace(r#""a""#, r#""b""#);
    let text = second(&format!(r#"{members},"inputs":{{"v":{open}{close}}}"#));
    let state = State::decode(text.as_bytes()).unwrap();
    assert!(state.check_values().is_err());
    assert!(state.to_indented().unwrap().len() < text.len() + 200_000);
    assert_eq!(written(&state), text);
    refusal(&open);
    refusal(document(&open));
    refusal(document("[]").replace(r#""s""#, &format!("{open}{close}")));
    refusal(second(&format!(r#"{members},"depends-on":{open}{close}"#)));
}

/// Wherever a wrong value stands, and wherever the text is torn, nothing of it is in the error.
#[test]
fn no_error_tells_what_the_document_holds() {
    let is_silent = |text: String| {
        if let Err(error) = State::decode(text.as_bytes()) {
            let message = format!("{error} {error:?}");
            assert!(
                !message.contains("unter2") && !message.contains("8675309"),
                "{message}: {text}"
            );
            assert!(std::error::Error::source(&error).is_none());
        }
    };
    let wrong = [
        r#""hunter2, expected hunter2 at line 1 column 2""#,
        r#"["hunter2"]"#,
        r#"{"hunter2":"hunter2"}"#,
        r#"[{"hunter2":"hunter2"}]"#,
        "8675309",
        "8675309.5",
        "-86753098675309867530986753098675309",
        "8675309e400",
        "[8675309]",
        r#""\ud83dhunter2""#,
        "true",
    ];
    // A value follows each colon, each comma and each opening bracket: all of them are replaced in turn.
    for (at, _) in FULL.match_indices([':', ',', '[']) {
        let (before, after) = FULL.split_at(at + 1);
        let Some(Ok(old)) = serde_json::Deserializer::from_str(after)
            .into_iter::<&serde_json::value::RawValue>()
            .next()
        else {
            continue;
        };
        for new in wrong {
            is_silent(format!("{before}{new}{}", &after[old.get().len()..]));
        }
    }
    for at in 0..FULL.len() {
        for inserted in [
            "\"",
            "\\",
            ",",
            ":",
            "{",
            "}",
            "[",
            "]",
            "\n",
            "x",
            "0",
            "\"hunter2\":",
        ] {
            is_silent(format!("{}{inserted}{}", &FULL[..at], &FULL[at..]));
        }
    }
}

#[test]
fn debug_tells_nothing_that_a_state_holds() {
    let state = State::decode(FULL.as_bytes()).unwrap();
    let entry = state.find("hunter2").unwrap();
    let text = format!(
        "{state:#?} {entry:?} {:?} {:?} {:?}",
        entry.binding, state.factory, entry.inputs
    );
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("entries: 2"), "{text}");
}

#[test]
fn a_state_that_breaks_a_rule_is_not_written() {
    let entry = |address: &str| {
        Entry::new(
            address,
            EntryKind::Leaf,
            Category::Resource,
            Binding::new("aws", "vpc"),
        )
    };
    type Break = fn(&mut Entry);
    let breaks: [(&str, Break); 6] = [
        ("address is missing", |entry| entry.address.clear()),
        ("category does not fit", |entry| {
            entry.entry_kind = EntryKind::Action;
        }),
        ("binding: alias is missing", |entry| entry.binding.alias.clear()),
        ("binding: kind is missing", |entry| entry.binding.kind.clear()),
        ("inputs: expected an object", |entry| {
            entry.inputs = Json::parse("1").ok();
        }),
        ("outputs: expected an object", |entry| {
            entry.outputs = Json::parse("[]").ok();
        }),
    ];
    for (rule, break_it) in breaks {
        let mut state = new_state();
        state.upsert(entry("gone"));
        state.upsert(entry("first"));
        let mut broken = entry("second");
        break_it(&mut broken);
        state.upsert(broken);
        // Positions are those of the document, in which nothing removed is left.
        state.remove("gone");
        let error = state.encode().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot);
        assert!(error.to_string().contains(&format!("entry 2: {rule}")), "{error}");
        assert_eq!(state.to_indented().unwrap_err().to_string(), error.to_string());
    }
    let mut state = new_state();
    state.generated_at = "soon".into();
    assert_eq!(state.encode().unwrap_err().kind(), &ErrorKind::InvalidSnapshot);
    let mut state = new_state();
    state.outputs = Some(Json::parse("null").unwrap());
    assert_eq!(state.encode().unwrap_err().kind(), &ErrorKind::InvalidSnapshot);
}

#[test]
fn a_new_state_belongs_to_its_stack_and_to_no_other() {
    let state = new_state();
    let id = |text: &str| text.parse::<StackId>().unwrap();
    assert!(state.check_stack(&id("network/prod")).is_ok());
    let bytes = State::normalize(written(&state).as_bytes(), &id("network/prod")).unwrap();
    assert_eq!(bytes, written(&state).as_bytes());
    for other in ["network/dev", "app/prod", "prod/network"] {
        let error = state.check_stack(&id(other)).unwrap_err();
        let again = State::normalize(written(&state).as_bytes(), &id(other)).unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        assert_eq!(error.kind(), &ErrorKind::InvalidSnapshot);
    }
    assert_eq!(
        written(&state),
        concat!(
            r#"{"format-version":1,"factory":{"name":"network","version":"v1","content-revision":"c\"1"},"#,
            r#""stack":"prod","generated-at":"1970-01-01T00:00:00Z","entries":[]}"#
        )
    );
}

#[test]
fn the_members_of_the_document_are_found_in_the_public_fields() {
    let state = State::decode(FULL.as_bytes()).unwrap();
    assert_eq!((state.len(), state.is_empty()), (2, false));
    assert_eq!(state.generated_at, "2026-07-10T12:00:00.1+02:00");
    let entry = state.entries().next().unwrap();
    assert_eq!(entry.entry_kind, EntryKind::LibraryCall);
    assert_eq!(entry.category, Category::DataSource);
    assert_eq!(entry.schema_version, Some(0));
    assert_eq!(entry.sensitive_outputs, ["hunter2", "a"]);
    assert_eq!(
        entry.outputs.as_ref().unwrap().as_str(),
        r#"{"hunter2":[1.10,-0]}"#
    );
    assert_eq!(entry.depends_on, ["hunter2"]);
}

fn new_state() -> State {
    let id = "network/prod".parse().unwrap();
    State::new(&id, "v1", "c\"1", OffsetDateTime::UNIX_EPOCH).unwrap()
}

fn string() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap())
}

fn value() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,4})?";
    let leaf = prop_oneof![number, string(), Just("null".into()), Just("true".into())];
    leaf.prop_recursive(4, 24, 4, |value| {
        let member = (string(), value.clone()).prop_map(|(name, value)| format!("{name}:{value}"));
        prop_oneof![
            prop::collection::vec(value, 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// Nothing, or the member with one of these values and a comma.
fn optional(member: &'static str, value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::option::of(value)
        .prop_map(move |value| value.map_or(String::new(), |value| format!("\"{member}\":{value},")))
}

fn unknown() -> impl Strategy<Value = String> {
    (optional("y", value()), optional("x\\n", value())).prop_map(|(y, x)| y + &x)
}

fn raw_object() -> impl Strategy<Value = String> {
    value().prop_map(|value| format!("{{\"v\":{value}}}"))
}

/// The members of an entry but its address, each followed by a comma.
fn members() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        r#""entry-kind":"leaf","category":"resource","#,
        r#""entry-kind":"library-call","category":"data-source","#,
        r#""entry-kind":"action","category":"action","#,
    ]);
    let filled = || ".{1,6}".prop_map(|text| serde_json::to_string(&text).unwrap());
    let binding = (filled(), optional("library-path", filled()), filled(), unknown()).prop_map(
        |(alias, library_path, kind, unknown)| {
            let members = format!(r#""alias":{alias},{library_path}"kind":{kind},{unknown}"#);
            format!(r#""binding":{{{}}},"#, members.trim_end_matches(','))
        },
    );
    let list = || prop::collection::vec(string(), 1..3).prop_map(|texts| format!("[{}]", texts.join(",")));
    (
        kind,
        binding,
        optional(
            "schema-version",
            any::<i64>().prop_map(|version| version.to_string()),
        ),
        optional("sensitive-inputs", list()),
        optional("sensitive-outputs", list()),
        optional("trigger-hash", filled()),
        optional("inputs", raw_object()),
        optional("outputs", raw_object()),
        optional("depends-on", list()),
        unknown(),
    )
        .prop_map(|(kind, b, c, d, e, f, g, h, i, j)| [kind, &b, &c, &d, &e, &f, &g, &h, &i, &j].concat())
}

proptest! {
    #[test]
    fn every_document_is_written_as_it_was_read(
        (name, stack) in (string(), string()),
        entries in prop::collection::vec(members(), 0..6),
        outputs in optional("outputs", raw_object()),
        (in_factory, in_state) in (unknown(), unknown()),
    ) {
        let with_addresses = entries.iter().enumerate().map(|(number, members)| {
            format!(r#"{{"address":"{number}",{}}}"#, members.trim_end_matches(','))
        });
        let entries = with_addresses.collect::<Vec<_>>().join(",");
        let factory = format!(r#""name":{name},"version":"","content-revision":"",{in_factory}"#);
        let factory = factory.trim_end_matches(',');
        let members = format!(
            r#""format-version":1,"factory":{{{factory}}},"stack":{stack},"generated-at":"","entries":[{entries}],{outputs}{in_state}"#
        );
        let text = format!("{{{}}}", members.trim_end_matches(','));

        let state = State::decode(text.as_bytes()).unwrap();
        prop_assert_eq!(&written(&state), &text);
        let again = State::decode(state.to_indented().unwrap().as_bytes()).unwrap();
        prop_assert!(again == state);
        prop_assert_eq!(&written(&again), &text);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(at in 0..FULL.len(), byte in any::<u8>(), length in 0..9_usize) {
        let mut bytes = FULL.as_bytes().to_vec();
        let end = bytes.len().min(at + length);
        bytes.splice(at..end, [byte]);
        if let Ok(state) = State::decode(&bytes) {
            let text = written(&state);
            prop_assert_eq!(rewritten(&text), text);
        }
    }
}
