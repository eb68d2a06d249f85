
"use strict";
// On a page of very many pictures a query is made of its template, and a picture gets its data, when it is shown first.
function loadPictures(part) {
  for (const use of part.querySelectorAll("use")) {
    const image = document.getElementById(use.getAttribute("href").slice(1));
    if (!image || !image.dataset.href) continue;
    image.setAttribute("href", image.dataset.href);
    delete image.dataset.href;
  }
}
(() => {
  const controls = document.getElementById("controls");
  if (!controls) return;
  const get = (id) => document.getElementById(id);
  const root = document.documentElement;
  const place = (name) => (one, other) => Number(one.dataset[name]) - Number(other.dataset[name]);
  const given = [...document.querySelectorAll(".case")].sort(place("given"));
  const boxesOf = (id) => [...document.querySelectorAll(`#${id} input`)];
  const boxes = boxesOf("methods").length ? boxesOf("methods") : boxesOf("columns");  // what the digits choose from
  const waiting = document.querySelector(".store [data-href], .case > template");
  let order = given, current = 0;

  function fill(sections) {
    if (!waiting) return;
    for (const section of sections) {
      const packed = section.querySelector("template");
      if (packed) packed.replaceWith(packed.content);
      loadPictures(section);
    }
    if (get("methods")) methods();
  }

  // One query at a time, or all of them below each other.
  function show() {
    const all = get("all") && get("all").checked;
    const seen = new Set(all ? order : [order[current]]);
    fill(seen);
    given.forEach((section) => { section.hidden = !seen.has(section); });
    document.dispatchEvent(new Event("shown"));
    if (given.length < 2) return;
    get("choose").selectedIndex = current;
    get("position").textContent = `${current + 1} of ${order.length}`;
    get("previous").disabled = current === 0;
    get("next").disabled = current === order.length - 1;
  }

  function go(place) {
    const target = Math.min(order.length - 1, Math.max(0, place));
    if (target === current) return;
    current = target;
    show();
    history.replaceState(null, "", `#${order[current].id}`);
    const above = get("cases").getBoundingClientRect().top < 0;
    if (get("all").checked) order[current].scrollIntoView();
    else if (above) get("cases").scrollIntoView();
  }

  // Cases all of whose results have the query's label, and those with others.
  const outcomes = {
    "": () => true,
    right: (section) => Number(section.dataset.judged) > 0 && section.dataset.failures === "0",
    wrong: (section) => Number(section.dataset.failures) > 0,
  };
  if (get("outcome")) {
    for (const option of get("outcome").options) {
      const count = given.filter(outcomes[option.value]).length;
      option.textContent += ` (${count})`;
      option.disabled = count === 0;
    }
  }

  function arrange() {
    const kept = order[current];
    const worst = get("order").value === "failures";
    const sorted = worst ? [...given].sort(place("worst")) : given;
    get("cases").append(...sorted);
    order = sorted.filter(outcomes[get("outcome") ? get("outcome").value : ""]);
    get("choose").replaceChildren(...order.map((section) => new Option(section.dataset.name)));
    current = worst ? 0 : Math.max(0, order.indexOf(kept));
    show();
  }

  function opacity() {
    root.style.setProperty("--overlay", get("opacity").value / 100);
    get("percent").textContent = `${get("opacity").value} %`;
  }

  function methods() {
    const shown = new Set(boxesOf("methods").filter((box) => box.checked).map((box) => box.value));
    document.querySelectorAll("[data-method]").forEach((part) => {
      part.hidden = !part.dataset.method.split(" ").some((method) => shown.has(method));  // a map may be of several
    });
  }

  function columns() {
    const shown = new Set(boxesOf("columns").filter((box) => box.checked).map((box) => box.value));
    document.querySelectorAll("[data-column]").forEach((part) => { part.hidden = !shown.has(part.dataset.column); });
    document.querySelector(".grid table").style.setProperty("--columns", shown.size + 1);
  }

  function maps() { root.classList.toggle("plain", !get("overlay").checked); }

  function help() { if (!get("help").open) get("help").showModal(); }
  get("help").addEventListener("click", (event) => {
    if (event.target === get("help") || event.target.matches(".close")) get("help").close();
  });

  const on = (id, event, action) => { if (get(id)) get(id).addEventListener(event, action); };
  on("previous", "click", () => go(current - 1));
  on("next", "click", () => go(current + 1));
  on("choose", "change", () => go(get("choose").selectedIndex));
  on("order", "change", arrange);
  on("outcome", "change", arrange);
  on("all", "change", show);
  on("overlay", "change", maps);
  on("opacity", "input", opacity);
  on("size", "input", () => root.style.setProperty("--zoom", get("size").value / 100));
  on("methods", "change", methods);
  on("columns", "change", columns);
  on("keys", "click", help);

  const keys = {
    f() {
      if (!get("order")) return;
      get("order").value = get("order").value === "failures" ? "given" : "failures";
      arrange();
    },
    a() { if (get("all")) get("all").click(); },
    c() {
      if (!get("outcome")) return;
      const ways = [...get("outcome").options].filter((option) => !option.disabled);
      ways[(ways.findIndex((option) => option.selected) + 1) % ways.length].selected = true;
      arrange();
    },
    "?"() { help(); },
    o() { if (get("overlay")) get("overlay").click(); },
    "+"() { if (get("opacity")) { get("opacity").stepUp(2); opacity(); } },
    "-"() { if (get("opacity")) { get("opacity").stepDown(2); opacity(); } },
  };
  keys["="] = keys["]"] = keys["+"];  // the same key without shift; in the large view + and - zoom
  keys["["] = keys["-"];
  if (given.length > 1) {
    keys.ArrowLeft = () => go(current - 1);
    keys.ArrowRight = () => go(current + 1);
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.matches("select")) return;  // typing chooses an option there
    if (event.target.matches("input[type=range], input[type=radio], .scroll") && event.key.startsWith("Arrow")) return;
    if (document.querySelector("dialog[open]") && !"oO[]?".includes(event.key)) return;
    const digit = /^[0-9]$/.test(event.key) ? Number(event.key) : -1;
    if (boxes.length && digit >= 0 && digit <= boxes.length) {
      boxes.forEach((box, i) => { box.checked = digit === 0 || i === digit - 1; });
      if (get("methods")) methods(); else columns();
      return;
    }
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action) { event.preventDefault(); action(); }
  });

  controls.hidden = false;
  // How much of the top stays covered while scrolling.
  const sticky = () => {
    const fixed = getComputedStyle(controls).position === "sticky" ? controls.offsetHeight : 0;
    root.style.setProperty("--bar", `${fixed + document.querySelector(".warning").offsetHeight}px`);
  };
  addEventListener("resize", sticky);
  sticky();
  if (waiting && document.getElementById("maps")) loadPictures(document.getElementById("maps"));
  if (given.length > 1) {
    arrange();
    const linked = order.findIndex((section) => `#${section.id}` === location.hash);
    if (linked > 0) { current = linked; show(); }
  } else {
    fill(given);
  }
})();
