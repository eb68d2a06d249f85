"use strict";
// The study, what the rater has done, undo, storage, and the file that is sent back. rate_page.js shows and edits it.
const SEVERITIES = ["none", "mild", "moderate", "severe"];
const ANSWERS = [["present", 1, "p", "+"], ["absent", 0, "a", "\u2212"], ["uncertain", -1, "u", "?"]];
const COLUMNS = "study,rater,case,finished,rank,image,query_severity,severity,query_label,label,seconds";

const reading = (() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const place = `cbir-rate:${study.study}:${study.rater}`;
  const listeners = [];
  let undone = [], done = [];
  let cases = study.cases.map(fresh), current = 0, stored = true, elsewhere = false, known = false;

  function fresh(one) {
    return { order: [...one.images], severity: {}, label: {}, finished: false, moved: false, seconds: 0 };
  }
  const same = (some, others) => some.length === others.length && [...some].sort().join() === [...others].sort().join();

  // --- the browser's storage ---
  function keep() {
    try {
      localStorage.setItem(place, JSON.stringify({ current, cases }));
      stored = true;
    } catch {
      stored = false;  // private windows, full disks, policies
    }
  }
  function recall() {
    try {
      const found = JSON.parse(localStorage.getItem(place));
      if (!found) return;
      const whole = found.cases.length === cases.length &&
        found.cases.every((one, i) => same(one.order, study.cases[i].images));
      if (!whole) return;
      cases = found.cases;
      current = Math.min(Math.max(0, found.current), cases.length - 1);
      known = true;
    } catch {
      stored = false;
    }
  }
  addEventListener("storage", (event) => {
    if (event.key !== place) return;
    elsewhere = true;
    tell("");
  });
  addEventListener("beforeunload", (event) => { if (!stored && begun()) event.preventDefault(); });
  addEventListener("pagehide", keep);

  // --- changes ---
  const tell = (words) => listeners.forEach((listener) => listener(words));
  const begun = () => cases.some((one) => one.moved || one.finished || Object.keys(one.severity).length || Object.keys(one.label).length);
  function change(words, edit, at = current) {
    const before = JSON.stringify(cases[at]);
    edit(cases[at]);
    const after = JSON.stringify(cases[at]);
    if (before === after) return;
    done.push({ at, before, after });
    if (done.length > 1000) done.shift();
    undone = [];
    keep();
    tell(words);
  }
  function again(from, to, which, words) {
    const entry = from.pop();
    if (!entry) return tell(words[1]);
    const seconds = cases.map((one) => one.seconds);
    if (entry.all) {
      cases = JSON.parse(entry[which]);
    } else {
      cases[entry.at] = JSON.parse(entry[which]);
      current = entry.at;
    }
    cases.forEach((one, i) => { one.seconds = Math.max(one.seconds, seconds[i]); });  // time is not undone
    to.push(entry);
    keep();
    tell(words[0]);
  }
  function move(code, target) {
    const from = cases[current].order.indexOf(code), last = cases[current].order.length - 1;
    const to = Math.min(last, Math.max(0, target));
    if (from < 0 || from === to) return;
    const again = cases[current].finished ? " Confirm the order again." : "";
    change(`Moved from rank ${from + 1} to ${to + 1} of ${last + 1}.${again}`, (one) => {
      one.order.splice(to, 0, ...one.order.splice(from, 1));
      one.moved = true;
      one.finished = false;
    });
  }
  function answer(kind, code, value, words) {
    change(words, (one) => {
      if (one[kind][code] === value) delete one[kind][code];
      else one[kind][code] = value;
    });
  }
  function go(to) {
    current = Math.min(cases.length - 1, Math.max(0, to));
    keep();
    tell(`Query ${current + 1} of ${cases.length}${cases[current].finished ? ", finished" : ""}`);
  }
  const finished = () => cases.filter((one) => one.finished).length;
  // The next query that is not finished, after this one; -1 if there is none.
  function unfinished() {
    const after = cases.map((_, i) => (current + 1 + i) % cases.length);
    const found = after.find((i) => !cases[i].finished);
    return found === undefined ? -1 : found;
  }

  // --- the file ---
  function table() {
    const lines = [COLUMNS];
    study.cases.forEach((one, i) => {
      const said = cases[i], given = (kind, code) => said[kind][code] ?? "";
      said.order.forEach((code, rank) => lines.push([
        study.study, study.rater, one.code, said.finished ? 1 : 0, rank + 1, code, given("severity", one.query),
        given("severity", code), given("label", one.query), given("label", code), study.times ? said.seconds : "",
      ].join(",")));
    });
    return `${lines.join("\n")}\n`;
  }
  // Read a table back; throws with the line that is wrong, and then nothing has changed.
  function read(text) {
    const lines = text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n").split("\n");
    const separator = [",", ";", "\t"].sort((a, b) => lines[0].split(b).length - lines[0].split(a).length)[0];
    const split = (line) => line.split(separator).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));
    const wrong = (number, words) => { throw new Error(`line ${number + 1}: ${words}`); };
    if (split(lines[0]).join() !== COLUMNS) wrong(0, "this is no file that this page has saved");
    const made = study.cases.map(fresh), ranks = made.map(() => []);
    lines.forEach((line, number) => {
      if (!number || !line.replaceAll(separator, "").trim()) return;
      const cells = split(line);
      if (cells.length !== 11) wrong(number, `expected 11 columns, found ${cells.length}`);
      const [of, rater, code, ended, rank, image, querySeverity, severity, queryLabel, label, seconds] = cells;
      const at = study.cases.findIndex((one) => one.code === code);
      if (of !== study.study) wrong(number, "is of another study");
      if (rater !== study.rater) wrong(number, `is of rater ${rater}; this page is that of ${study.rater}`);
      if (at < 0) wrong(number, `there is no case ${code}`);
      const images = study.cases[at].images, query = study.cases[at].query, one = made[at];
      if (!images.includes(image)) wrong(number, `there is no image ${image}`);
      if (!/^\d+$/.test(rank) || rank < 1 || rank > images.length || ranks[at][rank - 1]) wrong(number, `rank ${rank} cannot be`);
      if (ranks[at].includes(image)) wrong(number, `image ${image} is there twice`);
      ranks[at][rank - 1] = image;
      for (const [kind, name, value, least, most] of [
        ["severity", query, querySeverity, 0, 3], ["severity", image, severity, 0, 3],
        ["label", query, queryLabel, -1, 1], ["label", image, label, -1, 1],
      ]) {
        if (value === "") continue;
        if (!/^-?\d$/.test(value) || value < least || value > most) wrong(number, `${kind} ${value} cannot be`);
        one[kind][name] = Number(value);
      }
      one.finished = ended === "1";
      one.seconds = Number(seconds) || 0;
    });
    made.forEach((one, i) => {
      if (ranks[i].length && ranks[i].filter(Boolean).length < one.order.length) wrong(lines.length - 2, `case ${study.cases[i].code} is not whole`);
      if (!ranks[i].length) return;
      one.moved = ranks[i].join() !== one.order.join();
      one.order = ranks[i];
    });
    return made;
  }
  function take(text) {
    const before = JSON.stringify(cases);
    const made = read(text);
    cases = made;
    done.push({ all: true, at: current, before, after: JSON.stringify(cases) });
    undone = [];
    keep();
    tell(`Read: ${finished()} of ${cases.length} queries finished. Undo brings back what was here.`);
  }

  recall();
  keep();  // a browser that cannot says so before anything is done
  return {
    study, change, move, answer, go, finished, unfinished, table, take, keep, begun,
    undo: () => again(done, undone, "before", ["Undone", "Nothing to undo"]),
    redo: () => again(undone, done, "after", ["Done again", "Nothing to do again"]),
    listen: (listener) => listeners.push(listener),
    get now() { return cases[current]; },
    get query() { return study.cases[current].query; },
    get current() { return current; },
    get cases() { return cases; },
    get known() { return known; },
    get stored() { return stored; },
    get elsewhere() { return elsewhere; },
    get can() { return { undo: done.length > 0, redo: undone.length > 0 }; },
  };
})();
