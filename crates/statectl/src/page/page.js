"use strict";
// Every text goes into the document as text; the page's policy forbids everything else.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { entries, history } = data;
  const [WIDTH, HEIGHT] = data.size;
  const byId = id => document.getElementById(id);
  const search = byId("search"), list = byId("list"), details = byId("details"), canvas = byId("graph"), status = byId("status");
  const SIGNS = { added: "+", removed: "−", changed: "~", moved: ">" };
  const KINDS = { leaf: "Resource", action: "Action", "data-source": "Data source", "library-call": "Library call", missing: "Missing" };
  // So many rows are in the list at once: the search finds the others.
  const ROWS = 2000;

  // ---- texts

  // Characters that have no shape of their own, or turn the direction of writing, are shown as escapes.
  const plain = text => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, sign => "\\u{" + sign.codePointAt(0).toString(16) + "}");
  const lines = text => text.split("\n").map(plain).join("\n");
  const figure = number => number.toLocaleString("en");
  const count = (number, one, many) => figure(number) + " " + (number === 1 ? one : many);
  const time = text => text ? text.slice(0, 16).replace("T", " ") + " UTC" : "";

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "onclick") element.addEventListener("click", value);
      else if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter(child => child !== null && child !== undefined));
    return element;
  }
  const name = text => make("bdi", {}, plain(text));

  // ---- what belongs together

  const neededBy = entries.map(() => []);
  entries.forEach((entry, place) => entry.needs.forEach(need => neededBy[need].push(place)));
  const placeOf = new Map(entries.map((entry, place) => [entry.address, place]));
  // The moments in which each entry changed. An entry that was moved keeps its former history.
  const momentsOf = entries.map(() => []);
  {
    const address = new Map(placeOf);
    history.forEach((moment, index) => {
      for (const change of moment.entries) {
        const place = address.get(change.address);
        if (place === undefined) continue;
        momentsOf[place].push([index, change]);
        if (change.change === "added") address.delete(change.address);
        if (change.from !== null) { address.delete(change.address); address.set(change.from, place); }
      }
    });
  }
  const isCyclic = (from, to) => entries[from].cycle !== null && entries[from].cycle === entries[to].cycle;
  const missing = entries.filter(entry => entry.kind === "missing").length;
  const cyclic = entries.filter(entry => entry.cycle !== null).length;
  const edges = entries.reduce((sum, entry) => sum + entry.needs.length, 0);

  const texts = values => values.map(value => value.name + " " + (value.text || "")).join(" ");
  const haystacks = {
    entries: entries.map(entry =>
      [entry.address, entry.type, entry.kind, texts(entry.inputs), texts(entry.outputs)].join(" ").toLowerCase()),
    history: history.map(moment =>
      [moment.revision, moment.author, moment.host, moment.message, ...moment.entries.map(change => change.address)].join(" ").toLowerCase()),
  };

  // ---- state

  let tab = "entries", found = [], active = 0, chosen = null, changed = new Map(), isSearching = false, origin = null;
  // Whether the search finds each entry.
  let hits = null;

  // ---- the list

  function find() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = text => words.every(word => text.includes(word));
    isSearching = words.length > 0;
    found = haystacks[tab].flatMap((text, index) => matches(text) ? [index] : []);
    if (tab === "entries") {
      // Names before values, and beginnings first; else in the order of addresses.
      const rank = index => {
        if (!isSearching) return 0;
        const address = entries[index].address.toLowerCase();
        return address.startsWith(words[0]) ? 0 : matches(address) ? 1 : 2;
      };
      found.sort((one, other) => rank(one) - rank(other)
        || (entries[one].address < entries[other].address ? -1 : 1));
    }
    hits = isSearching && tab === "entries" ? new Set(found) : null;
    active = 0;
    fill();
    redraw();
  }

  function fill() {
    const row = tab === "entries" ? entryRow : momentRow;
    list.replaceChildren(...found.slice(0, ROWS).map(row));
    list.setAttribute("aria-label", tab === "entries" ? "Entries" : "History, newest first");
    list.scrollTop = 0;
    const all = haystacks[tab].length;
    const what = tab === "entries" ? count(found.length, "entry", "entries") : count(found.length, "revision", "revisions");
    status.textContent = found.length === 0 ? "Nothing is found"
      : found.length > ROWS ? `${what}, of which ${figure(ROWS)} are listed`
      : isSearching ? `${what} of ${figure(all)}` : tab === "history" && data["is-cut"] ? `${what}, older ones left out` : what;
    mark();
  }

  function option(index, attributes, ...children) {
    return make("div", { role: "option", id: "row-" + index, ...attributes }, ...children);
  }

  function entryRow(index) {
    const entry = entries[index];
    const alarm = entry.kind === "missing" ? "missing" : entry.cycle !== null ? "cycle" : null;
    const needs = entry.needs.length > 0 ? count(entry.needs.length, "need", "needs") : "";
    return option(index, { class: entry.kind },
      make("bdi", { class: "name", title: plain(entry.address) }, plain(entry.address)),
      make("span", { class: "below" }, make("span", {}, plain(entry.type || "not in the snapshot")),
        make("span", { class: "right" + (alarm ? " alarm" : "") }, alarm || needs)));
  }

  function momentRow(index) {
    const moment = history[index];
    const message = moment.message ? plain(moment.message.trim().split("\n")[0])
      : moment.revision === null ? "Unfinished changes" : "No message";
    return option(index, {},
      make("span", { class: "name" + (moment.message ? "" : " plain") }, message),
      make("span", { class: "below" },
        make("span", {}, [time(moment["written-at"]), moment.author && plain(moment.author)].filter(Boolean).join(" · ") || "not yet in a revision"),
        make("span", { class: "right" }, counts(moment))));
  }

  function counts(moment) {
    if (moment.counts === null) return make("span", { class: "counts" }, "?");
    const { added, changed, removed, moved } = moment.counts;
    const part = (sign, number, kind) => make("span", { class: number > 0 ? kind : "zero" }, sign + number + " ");
    const parts = [part("+", added, "added"), part("~", changed, "changed"), part("−", removed, "removed")];
    if (moved > 0) parts.push(part(">", moved, "moved"));
    return make("span", { class: "counts", "aria-label": `${added} added, ${changed} changed, ${removed} removed, ${moved} moved` }, ...parts);
  }

  const isChosen = index => chosen !== null && chosen.tab === tab && chosen.index === index;

  // Shows which row the arrow keys have reached, and which is open.
  function mark() {
    for (const row of list.querySelectorAll(".active, [aria-selected=true]")) {
      row.classList.remove("active");
      row.removeAttribute("aria-selected");
    }
    const open = chosen !== null && chosen.tab === tab && byId("row-" + chosen.index);
    if (open) open.setAttribute("aria-selected", "true");
    const row = list.children[active];
    if (row) row.classList.add("active");
    for (const element of [search, list]) {
      if (row) element.setAttribute("aria-activedescendant", row.id);
      else element.removeAttribute("aria-activedescendant");
    }
  }

  function move(to) {
    const last = Math.min(found.length, ROWS) - 1;
    active = Math.max(0, Math.min(last, to));
    mark();
    if (list.children[active]) list.children[active].scrollIntoView({ block: "nearest" });
    redraw();
  }

  function show(which) {
    tab = which;
    for (const button of document.querySelectorAll("[role=tab]")) {
      const isThis = button.id === "tab-" + which;
      button.setAttribute("aria-selected", isThis);
      button.tabIndex = isThis ? 0 : -1;
    }
    search.placeholder = which === "entries" ? "Search addresses, types, values" : "Search messages, authors, addresses";
    find();
  }

  // ---- the details

  // Opens an entry or a revision. `index` is its place in the data.
  function open(which, index, focus) {
    if (which !== tab) {
      search.value = "";
      show(which);
    }
    chosen = { tab: which, index };
    const row = found.indexOf(index);
    if (row >= 0) move(row);
    changed = new Map();
    if (which === "entries") {
      reveal(index);
    } else {
      for (const change of history[index].entries) {
        const place = placeOf.get(change.address);
        if (place !== undefined) changed.set(place, change.change);
      }
    }
    fillDetails();
    mark();
    redraw();
    if (focus) details.querySelector("h2").focus();
  }

  function close() {
    chosen = null;
    changed = new Map();
    fillDetails();
    mark();
    redraw();
    (origin || list).focus();
  }

  function fillDetails() {
    const parts = chosen === null ? overview() : chosen.tab === "entries" ? entryDetails(chosen.index) : momentDetails(chosen.index);
    if (chosen !== null) parts.unshift(make("button", { id: "close", "aria-label": "Close", title: "Close (Escape)", onclick: close }, "×"));
    details.replaceChildren(...parts);
    details.scrollTop = 0;
  }

  const heading = (...children) => make("h2", { tabindex: "-1" }, ...children);

  function facts(pairs) {
    const rows = pairs.filter(([, value]) => value).flatMap(([label, value]) => [make("dt", {}, label), make("dd", {}, value)]);
    return make("dl", {}, ...rows);
  }

  function section(title, children) {
    return children.length === 0 ? [] : [make("h3", {}, title), ...children];
  }

  function overview() {
    const kinds = Object.keys(KINDS).map(kind => [KINDS[kind], entries.filter(entry => entry.kind === kind).length]);
    const outputs = data.outputs.flatMap(output => [make("dt", {}, name(output)), make("dd", {}, make("span", { class: "mask" }, "masked"))]);
    const cycle = entries.flatMap((entry, place) => entry.cycle !== null ? [link(place)] : []);
    const gone = entries.flatMap((entry, place) => entry.kind === "missing" ? [link(place)] : []);
    const key = (keys, what) => [make("dt", { class: "mono" }, keys), make("dd", {}, what)];
    return [
      heading(plain(data.stack)),
      facts([["revision", make("span", { class: "mono" }, data.revision)], ["page made", time(data["made-at"])], ["by", data["made-by"]]]),
      data.unfinished ? make("p", { class: "note" }, plain(data.unfinished)) : null,
      ...section("Entries", [facts(kinds.filter(([, number]) => number > 0).map(([kind, number]) => [kind, figure(number)]))]),
      ...section("Missing", gone), ...section("In a cycle", cycle),
      ...section("Outputs of the stack", outputs.length > 0 ? [make("dl", {}, ...outputs)] : []),
      ...section("Keys", [make("dl", {}, ...key("/", "search"), ...key("↑ ↓", "choose"), ...key("Enter", "open"),
        ...key("Escape", "close"), ...key("+ − 0", "zoom the graph"))]),
    ].filter(part => part !== null);
  }

  function link(place, right) {
    return make("button", { class: "link", onclick: () => open("entries", place, true) },
      right ? make("span", { class: "right alarm" }, right) : null, name(entries[place].address));
  }

  function value({ text }) {
    return text === null ? make("span", { class: "mask" }, "masked") : make("pre", {}, lines(text));
  }

  function values(title, members) {
    const rows = members.flatMap(member => [make("dt", {}, name(member.name)), make("dd", {}, value(member))]);
    return section(title, rows.length > 0 ? [make("dl", {}, ...rows)] : []);
  }

  function entryDetails(index) {
    const entry = entries[index];
    const links = (places, isOut) => places.map(place => {
      const bad = entries[place].kind === "missing" ? "missing" : (isOut ? isCyclic(index, place) : isCyclic(place, index)) ? "cycle" : null;
      return link(place, bad);
    });
    const moments = momentsOf[index].map(([moment, change]) => make("div", { class: "change" },
      make("button", { class: "link", onclick: () => open("history", moment, true) },
        make("span", { class: "sign " + change.change }, SIGNS[change.change] + " "),
        time(history[moment]["written-at"]) || "unfinished", history[moment].author ? " · " + plain(history[moment].author) : "",
        history[moment].message ? " · " + plain(history[moment].message.trim().split("\n")[0]) : ""),
      fieldList(change.fields)));
    return [
      heading(name(entry.address)),
      entry.kind === "missing" ? make("p", { class: "note alarm" }, "Other entries need this address, but the snapshot has no such entry.") : null,
      entry.cycle !== null ? make("p", { class: "note alarm" }, "This entry needs itself, directly or through others.") : null,
      facts(entry.facts.map(([label, text]) => [label, name(text)])),
      ...values("Inputs", entry.inputs), ...values("Outputs", entry.outputs),
      ...section("Needs", links(entry.needs, true)), ...section("Needed by", links(neededBy[index], false)),
      ...section("Changed in", moments),
    ].filter(part => part !== null);
  }

  function fieldList(fields) {
    if (fields.length === 0) return null;
    const side = (sign, kind, text) => text === null ? null : make("pre", { class: kind, "data-sign": sign }, lines(text));
    return make("ul", { class: "fields" }, ...fields.map(field => make("li", {}, name(field.path), " ",
      field.masked ? make("span", { class: "mask" }, "masked, " + field.change) : null,
      side("−", "removed", field.before), side("+", "added", field.after))));
  }

  function momentDetails(index) {
    const moment = history[index];
    const changes = moment.entries.map(change => make("div", { class: "change" },
      make("div", { class: "head" }, make("span", { class: "sign " + change.change, title: change.change }, SIGNS[change.change]),
        placeOf.has(change.address) ? link(placeOf.get(change.address)) : name(change.address)),
      change.from !== null ? make("p", { class: "plain" }, "was ", name(change.from)) : null,
      fieldList(change.fields)));
    const beside = fieldList(moment.document);
    return [
      heading(moment.message ? lines(moment.message.trim()) : moment.revision === null ? "Unfinished changes" : "No message"),
      facts([
        ["revision", moment.revision && make("span", { class: "mono" }, moment.revision)], ["written", time(moment["written-at"])],
        ["author", moment.author && plain(moment.author)], ["host", moment.host && plain(moment.host)],
        ["tool", moment.tool && plain(moment.tool)], ["run", moment.run && plain(moment.run)],
        ["changes", moment.counts && counts(moment)],
      ]),
      moment["is-first"] ? make("p", { class: "note" }, "The history begins here.") : null,
      moment.problem !== null ? make("p", { class: "note alarm" }, "The changes are not known: " + plain(moment.problem)) : null,
      ...section("Entries", changes), ...section("Beside the entries", beside ? [beside] : []),
    ].filter(part => part !== null);
  }

  // ---- the graph

  const context = canvas.getContext("2d");
  let view = { x: 0, y: 0, scale: 1 }, ink = {}, size = { width: 0, height: 0 }, isQueued = false, fonts;
  // At a smaller scale there are no texts.
  const READABLE = 0.32;

  function readInk() {
    const style = getComputedStyle(document.documentElement);
    for (const key of ["ground", "panel", "text", "faint", "line", "accent", "chosen", "leaf", "resource", "action", "data-source",
      "library-call", "alarm", "added", "changed", "removed", "edge"]) ink[key] = style.getPropertyValue("--" + key).trim();
    ink.leaf = ink.resource;
    ink.missing = ink.alarm;
    ink.moved = ink.changed;
    fonts = { name: "12px " + style.getPropertyValue("--mono"), below: "11px " + style.getPropertyValue("--sans") };
  }

  function redraw() {
    if (isQueued) return;
    isQueued = true;
    requestAnimationFrame(() => {
      isQueued = false;
      draw();
    });
  }

  // The end of a long address, because the beginnings are often alike. All characters of the font are equally wide.
  const CHARS = Math.floor((WIDTH - 26) / 7.25);
  const shown = entries.map(entry => {
    const text = plain(entry.address.slice(-200));
    return entry.address.length <= CHARS && text.length <= CHARS ? text : "…" + text.slice(-(CHARS - 1));
  });
  const shownType = entries.map(entry => {
    const text = plain((entry.type || "not in the snapshot").slice(0, 200));
    return text.length <= CHARS ? text : text.slice(0, CHARS - 1) + "…";
  });

  // From below an entry to above what it needs; upward only in a cycle.
  function addCurve(from, to, hasHead) {
    const a = entries[from], b = entries[to];
    const x1 = a.x + WIDTH / 2, x2 = b.x + WIDTH / 2, y1 = a.y + HEIGHT;
    if (from === to) {
      context.moveTo(x1 + 9, y1);
      context.arc(x1, y1 + 9, 13, -Math.PI * 0.25, Math.PI * 1.25);
      return;
    }
    const isDown = b.y > a.y, y2 = isDown ? b.y : b.y + HEIGHT, side = isDown ? 1 : -1;
    const bend = isDown ? Math.max(28, (y2 - y1) / 2) : 40;
    context.moveTo(x1, y1);
    context.bezierCurveTo(x1, y1 + bend, x2, y2 - side * bend, x2, y2 - side * 2);
    if (!hasHead) return;
    context.moveTo(x2 - 4, y2 - side * 8);
    context.lineTo(x2, y2 - side);
    context.lineTo(x2 + 4, y2 - side * 8);
  }

  // Lines that look alike are drawn at once.
  function drawLines(middle, box, wantsNear) {
    const groups = new Map();
    for (let from = 0; from < entries.length; from++) {
      const a = entries[from];
      for (const to of a.needs) {
        const b = entries[to];
        if (Math.max(a.x, b.x) + WIDTH < box.left || Math.min(a.x, b.x) > box.right
          || Math.max(a.y, b.y) + HEIGHT + 40 < box.top || Math.min(a.y, b.y) > box.bottom) continue;
        const isNear = from === middle || to === middle, isGone = b.kind === "missing";
        if (isNear !== wantsNear) continue;
        const isDim = !isNear && (middle >= 0 || changed.size > 0 || (hits !== null && !(hits.has(from) && hits.has(to))));
        const tint = isGone || isCyclic(from, to) ? "alarm" : isNear ? "accent" : "edge";
        const key = `${isDim ? 0 : 1}${tint}${isGone}`;
        if (!groups.has(key)) groups.set(key, { isDim, tint, isGone, pairs: [] });
        groups.get(key).pairs.push([from, to]);
      }
    }
    const width = Math.max(1.2, 0.7 / view.scale);
    for (const key of [...groups.keys()].sort()) {
      const { isDim, tint, isGone, pairs } = groups.get(key);
      context.beginPath();
      for (const [from, to] of pairs) addCurve(from, to, wantsNear || view.scale > READABLE);
      context.strokeStyle = ink[tint];
      context.globalAlpha = isDim ? 0.3 : 1;
      context.lineWidth = wantsNear ? width * 1.6 : width;
      context.setLineDash(isGone ? [5, 4] : []);
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  function drawEntry(look) {
    const { place } = look, entry = entries[place], isReadable = view.scale > READABLE;
    const shape = (x, width, radii) => {
      context.beginPath();
      if (isReadable) context.roundRect(x, entry.y, width, HEIGHT, radii);
      else context.rect(x, entry.y, width, HEIGHT);
    };
    shape(entry.x, WIDTH, 7);
    if (look.isDim) {
      // No line shows through.
      context.fillStyle = ink.ground;
      context.fill();
      context.globalAlpha = 0.4;
    }
    context.fillStyle = look.isOpen ? ink.chosen : ink.panel;
    context.fill();
    const isGone = entry.kind === "missing";
    if (look.edge !== "line" || isReadable) {
      context.strokeStyle = ink[look.edge];
      context.lineWidth = look.isStrong ? Math.max(2.2, 2 / view.scale) : Math.max(1.2, 0.6 / view.scale);
      if (isGone) context.setLineDash([5, 4]);
      context.stroke();
      if (isGone) context.setLineDash([]);
    }
    // From afar, what was found is a block of its colour.
    shape(entry.x, isReadable ? 5 : look.isHit ? WIDTH : 14, [7, 0, 0, 7]);
    context.fillStyle = ink[entry.kind] || ink.resource;
    context.fill();
    if (isReadable) {
      context.font = fonts.name;
      context.fillStyle = ink.text;
      context.fillText(shown[place], entry.x + 15, entry.y + 20, WIDTH - 22);
      context.font = fonts.below;
      context.fillStyle = isGone ? ink.alarm : ink.faint;
      context.fillText(shownType[place], entry.x + 15, entry.y + 36, WIDTH - 22);
    }
    context.globalAlpha = 1;
  }

  function draw() {
    const ratio = devicePixelRatio || 1, { x, y, scale } = view;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = ink.ground;
    context.fillRect(0, 0, size.width, size.height);
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
    const box = { left: -x / scale, top: -y / scale, right: (size.width - x) / scale, bottom: (size.height - y) / scale };
    const middle = chosen !== null && chosen.tab === "entries" ? chosen.index : -1;
    const near = new Set(middle >= 0 ? [middle, ...entries[middle].needs, ...neededBy[middle]] : []);
    const hasFocus = document.activeElement === search || document.activeElement === list;
    const reached = hasFocus && tab === "entries" ? found[active] : -1;
    const looks = [];
    for (let place = 0; place < entries.length; place++) {
      const entry = entries[place];
      if (entry.x + WIDTH < box.left || entry.x > box.right || entry.y + HEIGHT < box.top || entry.y > box.bottom) continue;
      const change = changed.get(place), isOpen = place === middle;
      const isStrong = isOpen || place === reached || change !== undefined;
      const isAlarm = entry.kind === "missing" || entry.cycle !== null;
      const isDim = middle >= 0 ? !near.has(place)
        : (hits !== null && !hits.has(place)) || (changed.size > 0 && change === undefined);
      const edge = isOpen || place === reached ? "accent" : change || (isAlarm ? "alarm" : "line");
      const isHit = hits !== null && hits.has(place);
      looks.push({ place, isOpen, isStrong, isHit, isDim: isDim && place !== reached, edge });
    }
    // The lines of the open entry pass over those that have nothing to do with it.
    drawLines(middle, box, false);
    looks.filter(look => look.isDim).forEach(drawEntry);
    if (middle >= 0) drawLines(middle, box, true);
    looks.filter(look => !look.isDim).forEach(drawEntry);
  }

  function resize() {
    const box = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    const isFirst = size.width === 0;
    size = { width: box.width, height: box.height };
    canvas.width = Math.max(1, Math.round(box.width * ratio));
    canvas.height = Math.max(1, Math.round(box.height * ratio));
    if (isFirst) whole();
    draw();
  }

  // Shows the whole graph, but no larger than it is.
  function whole() {
    if (entries.length === 0) return;
    let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
    for (const entry of entries) {
      left = Math.min(left, entry.x);
      top = Math.min(top, entry.y);
      right = Math.max(right, entry.x + WIDTH);
      bottom = Math.max(bottom, entry.y + HEIGHT);
    }
    const margin = 44;
    const scale = Math.max(0.02, Math.min(1, (size.width - 2 * margin) / (right - left), (size.height - 2 * margin - 30) / (bottom - top)));
    view = {
      scale,
      x: (size.width - (left + right) * scale) / 2,
      y: (size.height - 30 - (top + bottom) * scale) / 2,
    };
    redraw();
  }

  function zoom(factor, x = size.width / 2, y = size.height / 2) {
    const scale = Math.max(0.02, Math.min(3, view.scale * factor));
    view = { scale, x: x - (x - view.x) * scale / view.scale, y: y - (y - view.y) * scale / view.scale };
    redraw();
  }

  // Brings an entry into view, large enough to be read.
  function reveal(place) {
    const { x, y } = entries[place], scale = Math.max(view.scale, 0.85);
    const isSeen = scale === view.scale && x * scale + view.x > 20 && (x + WIDTH) * scale + view.x < size.width - 20
      && y * scale + view.y > 20 && (y + HEIGHT) * scale + view.y < size.height - 20;
    if (!isSeen) view = { scale, x: size.width / 2 - (x + WIDTH / 2) * scale, y: size.height / 2 - (y + HEIGHT / 2) * scale };
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left - view.x) / view.scale, y = (event.clientY - box.top - view.y) / view.scale;
    return entries.findIndex(entry => x >= entry.x && x <= entry.x + WIDTH && y >= entry.y && y <= entry.y + HEIGHT);
  }

  let drag = null;
  canvas.addEventListener("pointerdown", event => {
    if (event.button !== 0) return;
    drag = { x: event.clientX, y: event.clientY, isMove: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    if (drag === null) {
      const over = at(event);
      canvas.classList.toggle("over", over >= 0);
      canvas.title = over >= 0 ? plain(entries[over].address) : "";
      return;
    }
    const x = event.clientX - drag.x, y = event.clientY - drag.y;
    if (!drag.isMove && Math.hypot(x, y) < 4) return;
    drag = { x: event.clientX, y: event.clientY, isMove: true };
    canvas.classList.add("moving");
    view.x += x;
    view.y += y;
    redraw();
  });
  canvas.addEventListener("pointerup", event => {
    const hit = drag !== null && !drag.isMove ? at(event) : -1;
    drag = null;
    canvas.classList.remove("moving");
    if (hit >= 0) {
      origin = canvas;
      open("entries", hit, false);
    }
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    const step = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    zoom(Math.exp(-Math.max(-120, Math.min(120, step)) * 0.002), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  canvas.addEventListener("keydown", event => {
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    view.x += step[0];
    view.y += step[1];
    redraw();
  });
  byId("closer").addEventListener("click", () => zoom(1.3));
  byId("farther").addEventListener("click", () => zoom(1 / 1.3));
  byId("whole").addEventListener("click", whole);

  // ---- keys

  function listKeys(event) {
    const page = Math.max(1, Math.floor(list.clientHeight / 46) - 1);
    const steps = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page };
    if (event.currentTarget === list) Object.assign(steps, { Home: 0, End: found.length - 1 });
    if (event.key in steps) {
      event.preventDefault();
      move(steps[event.key]);
    } else if (event.key === "Enter" && found.length > 0) {
      event.preventDefault();
      origin = event.currentTarget;
      open(tab, found[active], true);
    }
  }
  search.addEventListener("keydown", listKeys);
  list.addEventListener("keydown", listKeys);
  for (const element of [search, list]) {
    element.addEventListener("focus", redraw);
    element.addEventListener("blur", redraw);
  }
  search.addEventListener("input", find);
  list.addEventListener("click", event => {
    const row = event.target.closest("[role=option]");
    if (row === null) return;
    origin = list;
    open(tab, found[[...list.children].indexOf(row)], false);
  });
  for (const button of document.querySelectorAll("[role=tab]")) {
    button.addEventListener("click", () => show(button.id.slice(4)));
    button.addEventListener("keydown", event => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      show(tab === "entries" ? "history" : "entries");
      byId("tab-" + tab).focus();
    });
  }
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (document.activeElement === search && search.value !== "") {
        search.value = "";
        find();
      } else if (chosen !== null) {
        close();
      } else if (document.activeElement === search) {
        list.focus();
      }
    } else if (event.target !== search) {
      const action = { "/": () => { search.focus(); search.select(); }, "+": () => zoom(1.3), "-": () => zoom(1 / 1.3), "0": whole }[event.key];
      if (action) {
        event.preventDefault();
        action();
      }
    }
  });

  // ---- the beginning

  document.title = data.stack;
  byId("stack").append(plain(data.stack));
  const alarms = [missing > 0 ? count(missing, "missing", "missing") : null, cyclic > 0 ? cyclic + " in a cycle" : null].filter(Boolean);
  byId("summary").append([count(entries.length - missing, "entry", "entries"), count(edges, "need", "needs"),
    data.revision].join(" · "), ...(alarms.length > 0 ? [" · ", make("span", { class: "alarm" }, alarms.join(", "))] : []));
  byId("tab-entries").querySelector("span").textContent = figure(entries.length);
  byId("tab-history").querySelector("span").textContent = figure(history.length) + (data["is-cut"] ? "+" : "");
  const kinds = Object.keys(KINDS).filter(kind => entries.some(entry => entry.kind === kind));
  byId("legend").append(...kinds.map(kind => make("li", { class: kind }, KINDS[kind])), make("li", { class: "arrow" }, "needs"));
  canvas.setAttribute("aria-label", `Graph of ${count(entries.length, "entry", "entries")}. The list has the same entries.`);
  readInk();
  for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)"]) {
    matchMedia(query).addEventListener("change", () => { readInk(); redraw(); });
  }
  find();
  fillDetails();
  new ResizeObserver(resize).observe(canvas);
  resize();
  performance.mark("ready");
})();
