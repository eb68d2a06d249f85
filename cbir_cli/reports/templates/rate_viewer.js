// Large images beside each other, with the same size, place, window and level.
(() => {
  const get = (id) => document.getElementById(id);
  const viewer = get("viewer"), panes = [...viewer.querySelectorAll(".pane")];
  const START = { level: 128, width: 255, inverted: false }, WHOLE = { scale: 1, x: 0, y: 0 };
  let look = { ...START }, view = { ...WHOLE }, held = null, seen = null;

  // --- window and level of all images of the page: grey v becomes (v - level) / width + 1/2 ---
  function adjust() {
    const sign = look.inverted ? -1 : 1, slope = (sign * 255) / look.width;
    const intercept = 0.5 - (sign * look.level) / look.width;
    document.querySelectorAll("#window feComponentTransfer > *").forEach((part) => {
      part.setAttribute("slope", slope);
      part.setAttribute("intercept", plain() ? 0 : intercept);
    });
    get("level").value = look.level;
    get("width").value = look.width;
    get("invert").setAttribute("aria-pressed", look.inverted);
    get("windowed").hidden = plain();
  }
  const plain = () => look.level === START.level && look.width === START.width && !look.inverted;
  const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
  function set(changes) {
    look = { ...look, ...changes };
    look.level = clamp(Math.round(look.level), 0, 255);
    look.width = clamp(Math.round(look.width), 8, 510);
    adjust();
  }
  get("level").addEventListener("input", () => set({ level: Number(get("level").value) }));
  get("width").addEventListener("input", () => set({ width: Number(get("width").value) }));
  get("invert").addEventListener("click", () => set({ inverted: !look.inverted }));
  get("windowed").addEventListener("click", () => set(START));

  // --- size and place ---
  function place() {
    view.scale = clamp(view.scale, 1, 12);
    const most = (view.scale - 1) / 2;  // in parts of the pane: no more than its edge comes to the pane's
    view.x = clamp(view.x, -most, most);
    view.y = clamp(view.y, -most, most);
    panes.forEach((pane) => {
      const image = pane.firstElementChild;
      image.style.transform = `translate(${view.x * 100}%, ${view.y * 100}%) scale(${view.scale})`;
    });
    get("zoom").textContent = `${Math.round(view.scale * 100)} %`;
  }
  function grow(factor, x = 0, y = 0) {
    const before = view.scale, after = clamp(before * factor, 1, 12);
    view = { scale: after, x: x - ((x - view.x) * after) / before, y: y - ((y - view.y) * after) / before };
    place();
  }
  panes.forEach((pane) => {
    pane.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = pane.getBoundingClientRect();
      grow(event.deltaY < 0 ? 1.2 : 1 / 1.2, (event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5);
    }, { passive: false });
    pane.addEventListener("contextmenu", (event) => event.preventDefault());
    pane.addEventListener("pointerdown", (event) => {
      held = { x: event.clientX, y: event.clientY, window: event.shiftKey || event.button === 2 };
      pane.setPointerCapture(event.pointerId);
    });
    pane.addEventListener("pointermove", (event) => {
      if (!held) return;
      const x = event.clientX - held.x, y = event.clientY - held.y;
      Object.assign(held, { x: event.clientX, y: event.clientY });
      if (held.window) return set({ width: look.width + x, level: look.level + y });
      view.x += x / pane.clientWidth;
      view.y += y / pane.clientHeight;
      place();
    });
    for (const end of ["pointerup", "pointercancel"]) pane.addEventListener(end, () => { held = null; });
    pane.addEventListener("dblclick", () => { view = { ...WHOLE }; place(); });
  });
  get("larger").addEventListener("click", () => grow(1.25));
  get("smaller").addEventListener("click", () => grow(0.8));
  get("reset").addEventListener("click", reset);
  function reset() {
    view = { ...WHOLE };
    set(START);
    place();
  }

  // --- which images ---
  function fill() {
    if (!viewer.open) return;
    const code = shown.selected, alone = code === reading.query;
    seen = code;
    get("large-query").src = reading.study.pictures[reading.query];
    get("large-result").hidden = alone;
    if (!alone) get("large-image").src = reading.study.pictures[code];
    get("large-image").alt = shown.name(code);
    get("large-name").textContent = shown.name(code);
    for (const [box, one] of [["large-query-answers", reading.query], ["large-answers", code]]) {
      if (get(box).dataset.code !== one) shown.answers(one, get(box), true);
      get(box).dataset.code = one;
      shown.pressed(get(box), one);
    }
  }
  function step(by) {
    const order = [reading.query, ...reading.now.order];
    shown.select(order[(order.indexOf(shown.selected) + by + order.length) % order.length]);
  }
  get("before").addEventListener("click", () => step(-1));
  get("after").addEventListener("click", () => step(1));
  function shut() {
    const code = seen;  // the browser goes back to the image that was enlarged first
    viewer.close();
    shown.select(code);
  }
  get("close").addEventListener("click", shut);
  viewer.addEventListener("cancel", (event) => {
    event.preventDefault();
    shut();
  });
  document.addEventListener("enlarge", () => {
    if (!viewer.open) viewer.showModal();
    view = { ...WHOLE };
    place();
    fill();
  });
  document.addEventListener("drawn", fill);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || get("files").open || get("help").open) return;
    const key = event.key.toLowerCase();
    if (key === "r") reset();
    else if (key === "i") set({ inverted: !look.inverted });
    else if (viewer.open && (key === "+" || key === "=")) grow(1.25);
    else if (viewer.open && key === "-") grow(0.8);
  });
  adjust();
})();
