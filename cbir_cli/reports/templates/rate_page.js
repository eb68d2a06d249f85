// What is seen of the study, and the keys.
const shown = (() => {
  const get = (id) => document.getElementById(id);
  const { study } = reading;
  const tiles = new Map();  // of this query's images, by code
  let selected = null, drawn = -1, sure = -1, waiting = 0;

  const make = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.append(...children);
    return made;
  };
  const name = (code) => {
    const rank = reading.now.order.indexOf(code);
    return rank < 0 ? "Query" : `Rank ${rank + 1} of ${reading.now.order.length}`;
  };
  const given = (code) => {
    const level = reading.now.severity[code], label = ANSWERS.find((one) => one[1] === reading.now.label[code]);
    return [level === undefined ? "" : SEVERITIES[level], label ? label[0] : ""].filter(Boolean).join(", ");
  };
  function say(words) {
    if (!words) return;
    get("said").textContent = words;
    get("said").classList.add("fresh");
    clearTimeout(waiting);
    waiting = setTimeout(() => get("said").classList.remove("fresh"), 2500);
  }

  // --- severity and label ---
  function severity(code, level) { reading.answer("severity", code, level, `${name(code)}: severity ${SEVERITIES[level]}`); }
  function label(code, answer) { if (study.label) reading.answer("label", code, answer[1], `${name(code)}: ${study.label} ${answer[0]}`); }
  function answers(code, box, wide) {
    const group = (words, buttons) => {
      const made = make("span", { role: "group", "aria-label": words });
      if (wide) made.append(make("bdi", { class: "muted", title: words }, words));
      buttons.forEach(([text, title, kind, value, action]) => {
        const button = make("button", { type: "button", tabindex: -1, title, "data-kind": kind, "data-value": value }, text);
        button.addEventListener("click", () => { select(code); action(); });
        made.append(button);
      });
      box.append(made);
    };
    box.replaceChildren();
    group("Severity", SEVERITIES.map((words, level) =>
      [wide ? `${level} ${words}` : `${level}`, `Severity ${level}: ${words}`, "severity", level, () => severity(code, level)]));
    if (!study.label) return;
    group(study.label, ANSWERS.map((one) =>
      [wide ? `${one[3]} ${one[0]}` : one[3], `${study.label}: ${one[0]} (${one[2].toUpperCase()})`, "label", one[1], () => label(code, one)]));
  }
  function pressed(box, code) {
    box.querySelectorAll("[data-kind]").forEach((button) => {
      const on = String(reading.now[button.dataset.kind][code]) === button.dataset.value;
      button.setAttribute("aria-pressed", on);
    });
  }

  // --- one query ---
  function tile(code) {
    const picture = make("button", { type: "button", class: "picture", tabindex: -1 }, make("img", { alt: "", draggable: "false", src: study.pictures[code] }));
    const box = make("div", { class: "answers" });
    answers(code, box, false);
    const head = make("div", { class: "head" }, make("span", { class: "rank" }), make("span", { class: "muted" }));
    const item = make("li", { class: "tile", "data-code": code }, head, picture, box);
    picture.addEventListener("focus", () => select(code, false));
    return item;
  }
  function build() {
    drawn = reading.current;
    tiles.clear();
    study.cases[drawn].images.forEach((code) => tiles.set(code, tile(code)));
    get("tiles").replaceChildren(...reading.now.order.map((code) => tiles.get(code)));
    get("query").firstElementChild.src = study.pictures[reading.query];
    answers(reading.query, get("query-answers"), true);
    selected = reading.now.order[0];
    fit();
  }
  // Tiles glide to their places, unless the rater's system asks for less motion.
  function arrange() {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const before = new Map([...tiles].map(([code, item]) => [code, item.getBoundingClientRect()]));
    const focused = document.activeElement;
    get("tiles").append(...reading.now.order.map((code) => tiles.get(code)));
    if (focused && get("tiles").contains(focused)) focused.focus({ preventScroll: true });
    if (calm) return;
    tiles.forEach((item, code) => {
      const from = before.get(code), to = item.getBoundingClientRect();
      const x = from.left - to.left, y = from.top - to.top;
      if (x || y) item.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], { duration: 140, easing: "ease-out" });
    });
  }
  function draw() {
    if (drawn !== reading.current) build();
    const now = reading.now, order = [...get("tiles").children].map((item) => item.dataset.code);
    if (order.join() !== now.order.join()) arrange();
    now.order.forEach((code, place) => {
      const item = tiles.get(code), said = given(code), picture = item.querySelector(".picture");
      item.querySelector(".rank").textContent = place + 1;
      item.querySelector(".head .muted").textContent = said;
      item.classList.toggle("selected", code === selected);
      picture.tabIndex = code === selected ? 0 : -1;
      picture.setAttribute("aria-label", `${name(code)}${said ? `, ${said}` : ""}`);
      pressed(item, code);
    });
    const query = reading.query === selected;
    get("query").classList.toggle("selected", query);
    get("query").setAttribute("aria-label", ["Query", given(reading.query)].filter(Boolean).join(", "));
    pressed(get("query-answers"), reading.query);
    const count = reading.cases.length, ended = reading.finished();
    get("number").textContent = `Query ${reading.current + 1} of ${count}`;
    get("state").textContent = now.finished ? "\u2713 order confirmed" : now.moved ? "order not confirmed yet" : "in random order";
    get("progress").textContent = `${ended} of ${count} done`;
    get("undo").disabled = !reading.can.undo;
    get("redo").disabled = !reading.can.redo;
    get("previous").disabled = reading.current === 0;
    get("next").disabled = reading.current === count - 1;
    get("unfinished").disabled = ended === count;
    get("confirm").textContent = now.finished ? "\u2713 Confirmed" : sure === reading.current ? "Confirm as it is" : "Confirm order";
    get("confirm").disabled = now.finished;
    [...get("cases").children].forEach((button, i) => {
      const one = reading.cases[i], begun = one.moved || Object.keys(one.severity).length || Object.keys(one.label).length;
      button.className = one.finished ? "done" : begun ? "begun" : "";
      button.setAttribute("aria-label", `Query ${i + 1}, ${one.finished ? "finished" : begun ? "begun" : "not begun"}`);
      button.setAttribute("aria-current", i === reading.current);
      if (i === reading.current) button.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
    const trouble = reading.elsewhere ? "Also open in another window: close one of them, or work is lost"
      : reading.stored ? "" : "This browser does not keep your work: save the file before you close the page";
    get("kept").textContent = trouble || "Kept in this browser";
    get("kept").classList.toggle("trouble", Boolean(trouble));
    document.dispatchEvent(new Event("drawn"));
  }

  // As many columns as make the images largest; the rest scrolls once they would be too small to judge.
  function fit() {
    const area = get("tiles"), count = study.cases[reading.current].images.length, gap = 8;
    let best = { worth: 0, side: 0, columns: 1 };
    for (let columns = 1; columns <= count; columns++) {
      const rows = Math.ceil(count / columns), across = (area.clientWidth - gap * (columns - 1)) / columns;
      const lines = study.label && across < 178 ? 2 : 1;  // the answers below an image
      const down = (area.clientHeight - gap * (rows - 1)) / rows - 24 - 26 * lines;
      const side = Math.floor(Math.min(across, down / study.aspect));
      const worth = side * (1 - 0.5 * (rows * columns - count) / count);  // full rows are easier to read
      if (worth > best.worth) best = { worth, side, columns };
    }
    if (best.side < 110) best = { side: 140, columns: Math.max(1, Math.floor((area.clientWidth - 12 + gap) / (140 + gap))) };
    area.classList.toggle("narrow", best.side < 160);  // no room for words beside the rank
    area.style.setProperty("--columns", best.columns);
    area.style.setProperty("--side", `${best.side}px`);
    area.style.setProperty("--tall", `${Math.round(best.side * study.aspect)}px`);
  }
  // The query takes what the catalogue can spare.
  function split() {
    const width = Math.round(Math.min(0.36 * innerWidth, Math.max(0.275 * innerWidth, (innerHeight - 190) * 0.7)));
    document.documentElement.style.setProperty("--asked", `${width}px`);
    document.documentElement.style.setProperty("--high", `${Math.round(width * study.aspect)}px`);
    fit();
  }
  addEventListener("resize", split);

  // --- selection and keys ---
  function select(code, focus = true) {
    if (selected !== code) {
      selected = code;
      draw();
    }
    if (focus && !document.querySelector("dialog[open]")) pictureOf(code).focus({ preventScroll: false });
  }
  const pictureOf = (code) => code === reading.query ? get("query") : tiles.get(code).querySelector(".picture");
  get("query").addEventListener("focus", () => select(reading.query, false));

  function confirm() {
    const now = reading.now, at = reading.current;
    if (now.finished) return;
    if (!now.moved && sure !== at) {
      sure = at;
      draw();
      say("You have moved no image. Confirm once more if this random order is yours.");
      return;
    }
    sure = -1;
    reading.change("", (one) => { one.finished = true; });
    const blank = now.order.filter((code) => !(code in now.severity)).length + !(reading.query in now.severity);
    const without = blank ? ` ${blank} of its images have no severity.` : "";
    const next = reading.unfinished();
    if (next < 0) {
      say(`All ${reading.cases.length} queries are finished.${without}`);
      open("files");
    } else {
      reading.go(next);
      select(reading.now.order[0]);
      say(`Query ${at + 1} is finished.${without} This is query ${next + 1}.`);
    }
  }
  function go(to) {
    if (to < 0 || to >= reading.cases.length || to === reading.current) return;
    sure = -1;
    reading.go(to);
    select(reading.now.order[0]);
  }
  function open(id) {
    const dialog = get(id);
    if (id === "files") document.dispatchEvent(new Event("files"));
    if (!dialog.open && !document.querySelector("dialog[open]")) dialog.showModal();
  }
  // Rows of the grid as they are laid out, for the arrow keys up and down.
  const columns = () => Number(getComputedStyle(get("tiles")).getPropertyValue("--columns")) || 1;
  function target(key, from) {
    const last = reading.now.order.length - 1;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, ArrowUp: from - columns(), ArrowDown: from + columns(), Home: 0, End: last }[key];
    return key === "ArrowUp" && to < 0 || key === "ArrowDown" && to > last ? from : to;
  }
  document.addEventListener("keydown", (event) => {
    const viewer = get("viewer").open;
    if (document.querySelector("dialog[open]") && !viewer) return;
    const key = event.key, lower = key.toLowerCase(), control = event.ctrlKey || event.metaKey;
    const take = (action) => { event.preventDefault(); action(); };
    const slides = event.target.matches("input[type=range]") && /^(Arrow|Home|End|Page)/.test(key);
    if (event.altKey || slides) return;
    if (control && lower === "z") return take(event.shiftKey ? reading.redo : reading.undo);
    if (control && lower === "y") return take(reading.redo);
    if (control && lower === "s") return viewer ? take(() => {}) : take(() => open("files"));
    if (control && key === "Enter") return viewer ? undefined : take(confirm);
    if (control) return;
    const from = reading.now.order.indexOf(selected);
    if (key.startsWith("Arrow") || key === "Home" || key === "End") {
      if (event.shiftKey && from >= 0) return take(() => { reading.move(selected, target(key, from)); if (!viewer) select(selected); });
      if (from === 0 && key === "ArrowLeft") return take(() => select(reading.query));
      if (from < 0) return take(() => select(reading.now.order[key === "End" ? reading.now.order.length - 1 : 0]));
      const to = target(key, from);
      return take(() => select(reading.now.order[Math.min(reading.now.order.length - 1, Math.max(0, to))]));
    }
    if (/^[0-3]$/.test(key)) return take(() => severity(selected, Number(key)));
    const answer = ANSWERS.find((one) => one[2] === lower);
    if (answer && study.label) return take(() => label(selected, answer));
    if (viewer) return;
    if (key === "PageDown" || key === "PageUp") return take(() => go(reading.current + (key === "PageDown" ? 1 : -1)));
    if (lower === "j") return take(() => go(reading.unfinished()));
    if (lower === "q") return take(() => select(reading.query));
    if (key === "?") return take(() => open("help"));
  });

  get("query").addEventListener("click", () => {
    select(reading.query);
    document.dispatchEvent(new CustomEvent("enlarge", { detail: reading.query }));
  });

  // --- buttons ---
  study.cases.forEach((_, i) => {
    const button = make("button", { type: "button" }, String(i + 1));
    button.addEventListener("click", () => go(i));
    get("cases").append(button);
  });
  const press = (id, action) => get(id).addEventListener("click", action);
  press("undo", reading.undo);
  press("redo", reading.redo);
  press("ask", () => open("help"));
  press("save", () => open("files"));
  press("previous", () => go(reading.current - 1));
  press("next", () => go(reading.current + 1));
  press("unfinished", () => go(reading.unfinished()));
  press("confirm", confirm);

  reading.listen((words) => {
    draw();
    say(words);
  });
  split();
  draw();
  fit();
  if (!reading.known) open("help");
  return { select, name, answers, pressed, make, say, tiles, get selected() { return selected; } };
})();
