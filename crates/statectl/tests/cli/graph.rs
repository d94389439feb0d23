//! The graph of a stack, for Graphviz, for Mermaid and as a page in a real browser.

use crate::browser::{Browser, has};
use crate::sandbox::{SECRET, Sandbox, with_input};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

const PROD: &str = "demo/prod";
const HOSTILE: [&str; 6] = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a\"]; node [label=\"\\",
    "quotes ' ` ${alert(1)} &lt;b&gt; <!--",
    "line\u{2028}break\u{2029} and \u{202e}turned",
    "-->\n\t]]>\u{7}",
];

fn entry(address: &str, needs: &[String]) -> Value {
    json!({
        "address": address, "entry-kind": "leaf", "category": "resource",
        "binding": { "alias": "aws", "kind": "vpc" }, "inputs": { "note": address }, "depends-on": needs,
    })
}

fn document(entries: &[Value]) -> String {
    json!({
        "format-version": 1, "factory": { "name": "demo", "version": "v1", "content-revision": "1" }, "stack": "prod",
        "generated-at": "2026-07-10T12:00:00Z", "entries": entries, "outputs": { "url": SECRET },
    })
    .to_string()
}

fn push(sandbox: &Sandbox, entries: &[Value], message: &str) {
    sandbox.write("graph.json", &document(entries));
    sandbox
        .run(&["push", PROD, "graph.json", "--message", message])
        .expect(0);
}

/// Entries with every kind of hostile text as an address, a type, a name of a member and a value.
fn hostile() -> Sandbox {
    let sandbox = Sandbox::new();
    let long = "long.".repeat(2000);
    let addresses = HOSTILE.into_iter().chain([long.as_str()]);
    let mut entries: Vec<Value> = addresses
        .map(|address| {
            let mut entry = entry(address, &[format!("gone {address}")]);
            entry["binding"]["kind"] = address.into();
            entry["inputs"] = json!({ address: address, "long": long });
            entry
        })
        .collect();
    push(&sandbox, &entries, HOSTILE[0]);
    entries[0]["inputs"] = json!({ "changed": HOSTILE[1] });
    push(&sandbox, &entries, HOSTILE[1]);
    sandbox
}

/// A stack of a thousand entries in a hundred applications.
fn large() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut entries = vec![entry("network.vpc", &[])];
    for app in 0..111 {
        let name = |part: &str| format!("module.app-{app:03}.{part}");
        let mut add = |part: &str, needs: &[&str]| {
            let needs: Vec<String> = needs
                .iter()
                .map(|need| {
                    if need.contains('.') {
                        (*need).to_owned()
                    } else {
                        name(need)
                    }
                })
                .collect();
            entries.push(entry(&name(part), &needs));
        };
        add("subnet", &["network.vpc"]);
        add("firewall", &["network.vpc"]);
        add("database", &["subnet", "firewall"]);
        add("cache", &["subnet"]);
        add("bucket", &[]);
        add("role", &["bucket"]);
        add("service", &["database", "cache", "role"]);
        add("record", &["service"]);
        add("alarm", &["service"]);
    }
    push(&sandbox, &entries, "a thousand");
    for round in 0..8 {
        entries[round * 7]["inputs"] = json!({ "round": round });
        push(&sandbox, &entries, &format!("round {round}"));
    }
    sandbox
}

#[test]
fn dot_is_understood_by_graphviz() {
    if !has("dot") {
        return;
    }
    let dot = hostile().answer(&["graph", PROD]);
    let plain = with_input(Command::new("dot").arg("-Tplain"), dot.as_bytes()).expect(0);
    assert_eq!(plain.err, "");
    let count = |word: &str| plain.out.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("node "), count("edge ")), (14, 7), "{}", plain.out);
}

#[test]
fn graph_names_entries_and_what_is_missing() {
    let (sandbox, rev) = Sandbox::with_snapshot("first");
    let dot = sandbox.answer(&["graph", PROD]);
    assert!(
        dot.contains("\"action.migrate\" -> \"resource.database\";"),
        "{dot}"
    );
    assert!(
        dot.contains("\"resource.gone\" [label = \"resource.gone\\nnot in the snapshot\""),
        "{dot}"
    );
    let mermaid = sandbox.answer(&["graph", PROD, "--mermaid", "--rev", &rev]);
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert!(mermaid.contains("  n1 --> n0\n  n1 --> n2\n"), "{mermaid}");
    let document = sandbox.document(&["graph", PROD]);
    assert_eq!(document["nodes"][2]["missing"], true);
    assert_eq!(
        document["edges"][1],
        json!({ "from": "action.migrate", "to": "resource.gone", "in-cycle": false })
    );
    sandbox.run(&["graph", PROD, "--mermaid", "--json"]).expect(2);
    sandbox.run(&["graph", PROD, "--force"]).expect(2);
}

#[test]
fn page_is_private_and_spares_a_file_that_exists() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let page = sandbox.path("page.html");
    let run = sandbox.run(&["graph", PROD, "--html", "page.html"]).expect(0);
    assert_eq!(run.out, "");
    run.says(&["wrote page.html", "2 entries and 1 revision"]);
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&page, "mine").unwrap();
    let refused = sandbox.run(&["graph", PROD, "--html", "page.html"]).expect(1);
    refused.says(&["page.html exists and was left as it is", "--force"]);
    assert_eq!(fs::read(&page).unwrap(), b"mine");
    sandbox
        .run(&["graph", PROD, "--html", "page.html", "--force"])
        .expect(0);
    assert!(fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
    sandbox
        .run(&["graph", PROD, "--html", "no/such/page.html"])
        .expect(1);
    let left: Vec<_> = fs::read_dir(sandbox.path("")).unwrap().collect();
    let files = left
        .iter()
        .flatten()
        .filter(|file| file.file_name().to_string_lossy().starts_with(".tmp"));
    assert_eq!(files.count(), 0);
}

#[test]
fn page_goes_back_as_far_as_it_was_told() {
    let sandbox = Sandbox::new();
    sandbox.push("first", &["--message", "first"]);
    sandbox.push("second", &["--message", "second"]);
    sandbox.push("third", &["--message", "third"]);
    let written = sandbox.document(&["graph", PROD, "--html", "two.html", "-n", "2"]);
    assert_eq!(
        (&written["entries"], &written["revisions"]),
        (&2.into(), &2.into())
    );
    let page = data_of(&fs::read_to_string(sandbox.path("two.html")).unwrap());
    assert_eq!(page["is-cut"], true);
    let field = &page["history"][0]["entries"][0]["fields"][0];
    assert_eq!(
        field,
        &json!({ "path": "inputs.note", "change": "changed", "masked": false, "before": "\"second\"", "after": "\"third\"" })
    );
    sandbox.run(&["graph", PROD, "--html", "all.html"]).expect(0);
    let page = data_of(&fs::read_to_string(sandbox.path("all.html")).unwrap());
    assert_eq!(page["is-cut"], false);
    let messages: Vec<_> = page["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|moment| &moment["message"])
        .collect();
    assert_eq!(messages, ["third", "second", "first"]);
}

#[test]
fn page_begins_with_unfinished_changes() {
    let (sandbox, rev) = crate::unfinished::left(2);
    let run = sandbox.run(&["graph", PROD, "--html", "page.html"]).expect(0);
    run.says(&["unfinished"]);
    let page = data_of(&fs::read_to_string(sandbox.path("page.html")).unwrap());
    assert!(
        page["unfinished"].as_str().unwrap().contains("2 changes"),
        "{page}"
    );
    assert_eq!(page["entries"].as_array().unwrap().len(), 5);
    let history = page["history"].as_array().unwrap();
    assert_eq!(
        (&history[0]["revision"], &history[0]["counts"]["added"]),
        (&Value::Null, &2.into())
    );
    assert_eq!(history[1]["revision"], rev.as_str());
}

/// Nothing that is marked is in the file, in no revision; nor are the outputs of the stack, which cannot be marked.
#[test]
fn page_has_no_secret_in_it() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let changed = crate::sandbox::snapshot("prod", "second").replace(SECRET, &format!("{SECRET}-new"));
    sandbox.write(
        "state.json",
        &changed.replace(
            "\"entries\"",
            &format!("\"outputs\":{{\"url\":\"{SECRET}\"}},\"entries\""),
        ),
    );
    sandbox.run(&["push", PROD, "state.json"]).expect(0);
    sandbox.run(&["graph", PROD, "--html", "page.html"]).expect(0);
    let page = fs::read_to_string(sandbox.path("page.html")).unwrap();
    assert!(!page.contains(SECRET));
    let page = data_of(&page);
    assert_eq!(
        (&page["outputs"], &page["history"][0]["counts"]["outputs"]),
        (&json!(["url"]), &1.into())
    );
    assert_eq!(
        page["entries"][0]["inputs"][1],
        json!({ "name": "password", "text": null })
    );
}

fn data_of(page: &str) -> Value {
    let data = page
        .split("id=\"data\">")
        .nth(1)
        .unwrap()
        .split("</script>")
        .next()
        .unwrap();
    serde_json::from_str(data).unwrap()
}

/// Writes the page of a sandbox and opens it.
fn browse(sandbox: &Sandbox) -> Option<Browser> {
    sandbox.run(&["graph", PROD, "--html", "page.html"]).expect(0);
    let mut browser = Browser::start()?;
    browser.open(&sandbox.path("page.html"), 1440, 900);
    Some(browser)
}

#[track_caller]
fn assert_quiet(browser: &mut Browser) {
    let (requests, complaints) = browser.complaints();
    assert!(
        matches!(&requests[..], [only] if only.starts_with("file://") && only.ends_with("/page.html")),
        "{requests:?}"
    );
    assert_eq!(complaints, Vec::<Value>::new());
}

const FOCUS: &str = "document.activeElement.id || document.activeElement.tagName";
const DETAILS: &str = "document.getElementById('details').innerText";

/// Search, choose, open, follow a link, close: all without a mouse.
#[test]
fn page_is_used_with_the_keyboard_alone() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    sandbox.push("second", &["--message", "why it changed"]);
    let Some(mut browser) = browse(&sandbox) else {
        return;
    };
    browser.press("/");
    assert_eq!(browser.text(FOCUS), "search");
    browser.type_in("DATABASE aws");
    let rows = "[...document.querySelectorAll('[role=option] .name')].map(name => name.textContent).join()";
    assert_eq!(browser.text(rows), "resource.database");
    browser.press("Escape");
    assert_eq!(
        browser.text(rows),
        "action.migrate,resource.database,resource.gone"
    );
    browser.press("ArrowDown");
    assert_eq!(
        browser.text("document.getElementById('search').getAttribute('aria-activedescendant')"),
        "row-0"
    );
    browser.press("Enter");
    let details = browser.text(DETAILS);
    for text in [
        "resource.database",
        "5432",
        "18446744073709551616.10",
        "masked",
        "action.migrate",
        "why it changed",
        "second",
    ] {
        assert!(details.contains(text), "{text}: {details}");
    }
    assert!(!details.contains(SECRET));
    assert_eq!(browser.text(FOCUS), "H2");
    browser.press("Tab");
    browser.press("Enter");
    let details = browser.text(DETAILS);
    assert!(details.starts_with("×\naction.migrate"), "{details}");
    browser.press("Escape");
    assert_eq!(browser.text(FOCUS), "search");
    assert!(browser.text(DETAILS).contains("Keys"));
    assert_quiet(&mut browser);
}

/// Each part is reached with Tab, shows that it is, and has a role and a name.
#[test]
fn page_is_described_to_assistive_programs() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    let Some(mut browser) = browse(&sandbox) else {
        return;
    };
    let mut order = Vec::new();
    for _ in 0..7 {
        browser.press("Tab");
        order.push(browser.text(FOCUS));
        assert_ne!(
            browser.text("getComputedStyle(document.activeElement).outlineStyle"),
            "none"
        );
    }
    assert_eq!(
        order,
        [
            "search",
            "tab-entries",
            "list",
            "graph",
            "closer",
            "farther",
            "whole"
        ]
    );
    let unnamed = "[...document.querySelectorAll('button,input,canvas,[role=listbox],[role=tablist],main,nav,aside')] \
         .filter(part => !part.getAttribute('aria-label') && !part.innerText).length";
    assert_eq!(browser.value(unnamed), 0);
}

#[test]
fn page_shows_the_history_and_follows_the_colour_scheme() {
    let (sandbox, _) = Sandbox::with_snapshot("first");
    sandbox.push("second", &["--message", "why it changed"]);
    let Some(mut browser) = browse(&sandbox) else {
        return;
    };
    let ground = "getComputedStyle(document.body).getPropertyValue('background-color')";
    let pixel = "(() => { const copy = document.createElement('canvas').getContext('2d', { willReadFrequently: true }); \
        copy.drawImage(document.getElementById('graph'), 0, 0); \
        return [...copy.getImageData(2, 2, 1, 1).data].slice(0, 3).join(', '); })()";
    let frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))";
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        browser.value(frame);
        let page = browser.text(ground);
        assert_eq!(page, format!("rgb({})", browser.text(pixel)));
        grounds.push(page);
    }
    assert_ne!(grounds[0], grounds[1]);
    browser.value("document.getElementById('tab-history').click()");
    browser.press("/");
    browser.type_in("changed");
    browser.press("Enter");
    let details = browser.text(DETAILS);
    for text in [
        "why it changed",
        "alice",
        "+0 ~1 −0",
        "inputs.note",
        "\"first\"",
        "\"second\"",
    ] {
        assert!(details.contains(text), "{text}: {details}");
    }
    assert_quiet(&mut browser);
}

/// Hostile texts are shown as texts. Even a script that got into the page could neither load nor send anything.
#[test]
fn page_runs_nothing_that_a_snapshot_holds() {
    let sandbox = hostile();
    let Some(mut browser) = browse(&sandbox) else {
        return;
    };
    for tab in ["entries", "history"] {
        browser.value(&format!("document.getElementById('tab-{tab}').click()"));
        let open = "document.querySelectorAll('[role=option]').forEach(row => row.click()); 1";
        browser.value(open);
    }
    let foreign = "document.querySelectorAll('img, iframe, link, object, script:not(#data)').length";
    assert_eq!(browser.value(foreign), 1);
    browser.value("document.getElementById('tab-entries').click()");
    browser.press("/");
    browser.type_in("img onerror");
    browser.press("Enter");
    let heading = browser.text("document.querySelector('h2').innerText");
    assert_eq!(heading, HOSTILE[1]);
    browser.press("Escape");
    browser.press("Escape");
    browser.type_in("turned");
    // The missing entry that it needs begins with another letter.
    browser.press("ArrowDown");
    browser.press("Enter");
    let heading = browser.text("document.querySelector('h2').innerText");
    assert_eq!(heading, "line\\u{2028}break\\u{2029} and \\u{202e}turned");
    assert_quiet(&mut browser);
    let wide = "document.documentElement.scrollWidth <= innerWidth && document.getElementById('details').scrollWidth <= 400";
    assert_eq!(browser.value(wide), true);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("'http://{}/'", listener.local_addr().unwrap());
    for attack in [
        "fetch(URL).then(() => 'sent', () => 'refused')",
        "new Promise(done => { const image = new Image(); image.onload = () => done('sent'); \
            image.onerror = () => done('refused'); image.src = URL; })",
        "(() => { const script = document.createElement('script'); \
            try { script.textContent = 'window.ran = 1'; } catch { return 'refused'; } \
            document.body.append(script); return window.ran ? 'ran' : 'refused'; })()",
        "(() => { try { document.body.innerHTML = '<b>'; return 'written'; } catch { return 'refused'; } })()",
    ] {
        assert_eq!(browser.value(&attack.replace("URL", &url)), "refused", "{attack}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Prints what it measures. The limits are far above what a quiet machine needs: they find what is quadratic, not what is slow.
#[test]
fn page_of_a_thousand_entries_stays_fluid() {
    let sandbox = large();
    let Some(mut browser) = browse(&sandbox) else {
        return;
    };
    let ready = browser
        .value("performance.getEntriesByName('ready')[0].startTime")
        .as_f64()
        .unwrap();
    // The time that the script needs for each frame of a pan, at two magnifications.
    let pan = "(async () => { \
        const graph = document.getElementById('graph'), box = graph.getBoundingClientRect(), times = []; \
        const send = (type, x, y) => graph.dispatchEvent(new PointerEvent(type, { clientX: box.x + x, clientY: box.y + y, pointerId: 1 })); \
        graph.setPointerCapture = () => {}; \
        const frame = () => new Promise(done => requestAnimationFrame(() => { const start = performance.now(); \
            queueMicrotask(() => done(start)); })); \
        send('pointerdown', 300, 300); \
        for (let step = 0; step < 60; step++) { \
            const start = performance.now(); \
            send('pointermove', 300 + step * 4, 300 + step * 2); \
            await frame(); times.push(performance.now() - start); \
        } \
        send('pointerup', 300, 300); \
        times.sort((one, other) => one - other); \
        return [times[30], times[57]]; })()";
    let search = "(() => { const search = document.getElementById('search'), start = performance.now(); \
        search.value = 'app-05'; search.dispatchEvent(new Event('input')); const rows = document.querySelectorAll('[role=option]').length; \
        return [performance.now() - start, rows]; })()";
    let far = browser.value(pan);
    browser.value("for (let step = 0; step < 6; step++) document.getElementById('closer').click(); 1");
    let near = browser.value(pan);
    let found = browser.value(search);
    println!(
        "1,000 entries: ready after {ready:.0} ms; pan frames (median, 95 %) {far} ms, nearer {near} ms; search {found}"
    );
    assert_eq!(found[1], 90);
    assert!(ready < 5000.0, "{ready}");
    for frames in [far, near] {
        assert!(frames[0].as_f64().unwrap() < 250.0, "{frames}");
    }
    assert_quiet(&mut browser);
}
