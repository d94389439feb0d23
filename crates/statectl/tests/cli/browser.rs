//! A real browser, driven over a pipe with the DevTools protocol, so that the tests need no driver and no port.

use crate::sandbox::skip;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = "chromium";
/// The browser ends itself after so many seconds, and the test with it.
const PATIENCE: &str = "180";

/// One page in a browser of its own.
pub(crate) struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    calls: u64,
    /// What the browser reported since it was last asked.
    events: Vec<Value>,
    _profile: TempDir,
}

/// Whether a program that a test needs is here. In CI it must be.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !is_here {
        skip(&format!("{program} is not installed"));
    }
    is_here
}

impl Browser {
    /// Starts the browser, or says that it is not installed.
    pub(crate) fn start() -> Option<Self> {
        if !has(PROGRAM) {
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        // The protocol's pipe has the descriptors 3 and 4.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec timeout --kill-after=5 \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null",
                "sh",
                PATIENCE,
                PROGRAM,
            ])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--disable-dev-shm-usage", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut browser = Self {
            to: child.stdin.take(),
            from: BufReader::new(child.stdout.take().unwrap()),
            child,
            session: None,
            calls: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &target);
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Loads a file and waits until it is loaded.
    pub(crate) fn open(&mut self, file: &Path, width: u32, height: u32) {
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &screen);
        self.call(
            "Page.navigate",
            &json!({ "url": format!("file://{}", file.display()) }),
        );
        while !self
            .events
            .iter()
            .any(|event| event["method"] == "Page.loadEventFired")
        {
            let event = self.receive();
            self.events.push(event);
        }
    }

    /// Whether the browser prefers `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// The value of an expression, after its promise is kept.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let call = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", &call);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    #[track_caller]
    pub(crate) fn text(&mut self, expression: &str) -> String {
        self.value(expression).as_str().unwrap().to_owned()
    }

    /// Types a text into whatever has the focus.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Presses a key, such as `Enter`, or the key of a character.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            _ => 0,
        };
        let mut down = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        match key {
            "Enter" => down["text"] = "\r".into(),
            key if key.chars().count() == 1 => down["text"] = key.into(),
            _ => {}
        }
        self.call("Input.dispatchKeyEvent", &down);
        let up = json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code });
        self.call("Input.dispatchKeyEvent", &up);
    }

    /// Every request, and everything that was written to the console or thrown, since the page was opened.
    pub(crate) fn complaints(&mut self) -> (Vec<String>, Vec<Value>) {
        // The events before the answer to this call are here.
        self.value("1");
        let is = |event: &Value, methods: &[&str]| methods.contains(&event["method"].as_str().unwrap_or(""));
        let requests = self
            .events
            .iter()
            .filter(|event| is(event, &["Network.requestWillBeSent"]));
        let requests = requests.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned());
        let requests = requests.collect();
        const COMPLAINTS: [&str; 4] = [
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        ];
        let complaints = self.events.iter().filter(|event| is(event, &COMPLAINTS));
        (requests, complaints.cloned().collect())
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let to = self.to.as_mut().unwrap();
        to.write_all(format!("{message}\0").as_bytes()).unwrap();
        to.flush().unwrap();
        loop {
            let mut received = self.receive();
            if received["id"] == self.calls {
                assert!(received.get("error").is_none(), "{method}: {received}");
                return received["result"].take();
            }
            self.events.push(received);
        }
    }

    fn receive(&mut self) -> Value {
        let mut message = Vec::new();
        self.from.read_until(0, &mut message).unwrap();
        assert_eq!(message.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&message).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.to = None;
        // The closed pipe alone does not always end it. `timeout` passes the signal on, and kills it after a while.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
