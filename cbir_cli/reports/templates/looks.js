
// Maps of several explainers, the curves of a map, and large pictures.
(() => {
  const root = document.documentElement;
  const large = document.getElementById("large"), peek = document.getElementById("peek");
  if (!large) return;
  const axes = JSON.parse(large.dataset.axes);
  const LINES = ["map", "random map", "random network"];
  const BETTER = { insertion: "higher is better", deletion: "lower is better" };
  const SVG = document.querySelector(".store").namespaceURI;
  const node = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.append(...children);
    return made;
  };
  const drawn = (name, attributes, ...children) => {
    const made = document.createElementNS(SVG, name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.append(...children);
    return made;
  };

  // --- which explainer and which kind of map is shown ---
  const radios = (name) => [...document.querySelectorAll(`input[name=${name}]`)];
  const explainers = radios("explainer"), kinds = radios("kind");
  function shown() {
    const explainer = explainers.find((radio) => radio.checked), kind = kinds.find((radio) => radio.checked);
    if (explainer) root.dataset.layer = explainer.value;
    if (kind) root.dataset.kind = kind.value;
    if (large.open) enlarge(opened);
    if (!peek.hidden) lookAt(looked);
  }
  [...explainers, ...kinds].forEach((radio) => radio.addEventListener("change", shown));
  function next(group, step = 1) {
    if (!group.length) return;
    const now = group.findIndex((radio) => radio.checked);
    group[(now + step + group.length) % group.length].checked = true;
    shown();
  }

  // --- curves ---
  // A curve is two characters a point, in base 36: 0 to 1295 stand for a similarity of 0 to 1.
  const values = (packed) => packed.match(/../g).map((two) => parseInt(two, 36) / 1295);
  const at = (x, y) => `${(28 + 166 * x).toFixed(1)},${(8 + 92 * (1 - y)).toFixed(1)}`;

  function plot(kind, lines, axis) {
    const svg = drawn("svg", { viewBox: "0 0 200 126", "aria-hidden": "true" });
    svg.append(drawn("path", { class: "axis", d: `M${at(0, 1)} L${at(0, 0)} L${at(1, 0)}` }));
    for (const tick of [0, 0.5, 1]) {
      svg.append(drawn("text", { x: 24, y: 11 + 92 * (1 - tick), "text-anchor": "end" }, String(tick)));
      const anchor = ["start", "middle", "end"][2 * tick];
      svg.append(drawn("text", { x: 28 + 166 * tick, y: 111, "text-anchor": anchor }, `${100 * tick} %`));
    }
    svg.append(drawn("text", { x: 111, y: 122, "text-anchor": "middle" }, "pixels changed"));
    const keys = node("ul");
    lines.forEach((line, i) => {
      if (!line) return;
      const points = values(line[1]).map((y, place) => at(axis[place], y));
      svg.append(drawn("path", { class: `line of-${i}`, d: `M${points.join(" L")}` }));
      const key = drawn("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" },
        drawn("path", { class: `key of-${i}`, d: "M0,4 L26,4" }));
      keys.append(node("li", {}, key, LINES[i], node("b", {}, line[0].toFixed(3))));
    });
    const head = node("figcaption", {}, node("b", {}, kind), ` similarity, ${BETTER[kind]}; area:`);
    return node("figure", {}, head, svg, keys);
  }

  // The curves of the explainer that is shown over a picture; null without any.
  function curvesOf(button) {
    const all = JSON.parse(button.dataset.curves || "[]");
    const one = all.find((entry) => entry.layer === null || String(entry.layer) === root.dataset.layer);
    if (!one) return null;
    const plots = node("div", { class: "plots" });
    for (const kind of ["insertion", "deletion"]) {
      if (one.curves[kind]) plots.append(plot(kind, one.curves[kind], axes[one.curves.axis]));
    }
    return plots;
  }

  // What is said below a picture of the explainer that is shown.
  function saidOf(button) {
    const box = button.closest(".tile, figure");
    const parts = [...box.querySelectorAll(".verdict, .dispute, .id, .said")].filter((part) => part.checkVisibility({ visibilityProperty: true }));
    return parts.map((part) => part.cloneNode(true));
  }

  let looked = null, waiting = 0;
  function lookAt(button) {
    const plots = large.open ? null : curvesOf(button);
    looked = button;
    peek.hidden = !plots;
    if (!plots) return;
    const marks = saidOf(button).flatMap((part) => [...part.querySelectorAll(".mark")]);
    peek.replaceChildren(plots, ...marks);
    // Below the picture or above it, so that those beside it stay in reach; else beside it; never over it.
    const box = button.getBoundingClientRect(), own = peek.getBoundingClientRect();
    const fit = (value, size, limit) => Math.max(8, Math.min(value, limit - size - 8));
    let left = fit(box.left, own.width, innerWidth), top = box.bottom + 6;
    if (top + own.height > innerHeight) top = box.top - own.height - 6;
    if (top < 0) {
      top = fit(box.top, own.height, innerHeight);
      left = box.right + 6 + own.width < innerWidth ? box.right + 6 : Math.max(0, box.left - own.width - 6);
    }
    peek.style.left = `${left}px`;
    peek.style.top = `${top}px`;
  }
  function away() { clearTimeout(waiting); peek.hidden = true; looked = null; }
  const soon = (action, delay) => { clearTimeout(waiting); waiting = setTimeout(action, delay); };
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return;
    const button = event.target.closest(".zoom");
    if (button) { if (button !== looked) soon(() => lookAt(button), 120); else clearTimeout(waiting); }
    else if (peek.contains(event.target)) clearTimeout(waiting);
    else if (!peek.hidden || waiting) soon(away, 150);  // time to move onto the curves
  });
  document.addEventListener("focusin", (event) => {
    if (event.target.matches(".zoom:focus-visible")) lookAt(event.target);
    else if (!peek.hidden) away();
  });
  addEventListener("scroll", () => { if (!peek.hidden) away(); }, { passive: true });

  // --- a picture large, the query beside it ---
  let opened = null;
  const pictureOf = (button) => button.querySelector(".picture");
  function without(svg) {
    const copy = svg.cloneNode(true);
    copy.querySelectorAll(".overlay").forEach((over) => over.remove());
    return copy;
  }
  // The query under its map in view of this result; without such a map, under the map of the row.
  function queryFor(button) {
    const tile = button.closest(".tile");
    if (!tile) return null;
    const section = tile.closest(".case"), row = tile.closest(".row");
    const svg = without(section.querySelector(".query .picture"));
    const own = JSON.parse(button.dataset.query || "[]");
    for (const [kind, layer, name] of own) {
      svg.append(drawn("use", { class: `overlay ${kind}${layer === null ? "" : ` l${layer}`}`, href: `#${name}` }));
    }
    if (!own.length) {
      const overlays = section.querySelectorAll(`.query figure[data-method~="${row.dataset.method}"] .overlay`);
      svg.append(...[...overlays].map((over) => over.cloneNode(true)));
    }
    return svg;
  }
  const captioned = (words, svg) => node("figure", {}, node("figcaption", {}, words), svg);

  function enlarge(button) {
    opened = button;
    const svg = pictureOf(button), query = queryFor(button), mapped = svg.querySelector(".overlay");
    const drawings = query ? [captioned(query.querySelector(".overlay") ? "Query with map" : "Query", query)] : [];
    drawings.push(captioned(query ? "Result" : "Image", without(svg)));
    if (mapped) drawings.push(captioned(query ? "Result with map" : "Image with map", svg.cloneNode(true)));
    const press = (label, words, action) => {
      const made = node("button", { type: "button", "aria-label": label }, words);
      made.addEventListener("click", action);
      return made;
    };
    const bar = [node("h2", { id: "large-name" }, svg.getAttribute("aria-label"))];
    const now = explainers.find((radio) => radio.checked);
    if (now && mapped) bar.push(press("Maps by the next explainer", `Maps by ${now.parentElement.textContent.trim()}`, () => next(explainers)));
    const kind = kinds.find((radio) => radio.checked);
    if (kind && mapped) bar.push(press("Next kind of map", `Showing ${kind.parentElement.textContent.trim()}`, () => next(kinds)));
    bar.push(press("Previous picture", "\u2190", () => step(-1)), press("Next picture", "\u2192", () => step(1)),
      press("Close", "Close", () => large.close()));
    drawings.forEach(loadPictures);
    const words = saidOf(button), plots = curvesOf(button), head = large.querySelector("header");
    const focused = [...head.querySelectorAll("button")].indexOf(document.activeElement);
    head.replaceChildren(...bar);
    large.querySelector(".pictures").replaceChildren(...drawings);
    large.querySelector(".beside").replaceChildren(...(words.length ? [node("div", {}, ...words)] : []), ...(plots ? [plots] : []));
    if (focused >= 0) (head.querySelectorAll("button")[focused] || large).focus();
    const first = !large.open;
    if (first) { away(); large.showModal(); }
    large.dispatchEvent(new CustomEvent("drawn", { detail: first }));
  }
  function step(by) {
    const all = [...opened.closest(".case").querySelectorAll(".zoom")].filter((button) => button.checkVisibility());
    enlarge(all[(all.indexOf(opened) + by + all.length) % all.length]);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".zoom");
    if (button) enlarge(button);
    else if (event.target === large) large.close();  // the ground around it
  });
  large.addEventListener("close", () => { if (opened) opened.focus({ preventScroll: true }); away(); });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("select")) return;
    const arrow = large.open && !event.shiftKey && !event.target.matches("input");
    if (event.key === "Escape" && !large.open) away();
    else if (event.key.toLowerCase() === "m") next(explainers, event.shiftKey ? -1 : 1);
    else if (event.key.toLowerCase() === "u") next(kinds);
    else if (arrow && event.key === "ArrowRight") step(1);
    else if (arrow && event.key === "ArrowLeft") step(-1);
    else if (/^[1-9]$/.test(event.key) && explainers[event.key - 1] && !document.querySelector("#methods, #columns")) {
      explainers[event.key - 1].checked = true;
      shown();
    }
  });
  shown();  // a browser may remember what was chosen before a reload
})();
