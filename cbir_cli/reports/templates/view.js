
// The large view: zoom, moving and greys, of all its pictures together.
(() => {
  const large = document.getElementById("large");
  if (!large) return;
  const get = (id) => document.getElementById(id), view = { zoom: 1, x: 0.5, y: 0.5 };
  const pictures = () => large.querySelectorAll(".pictures .picture");
  const sizeOf = (svg) => (svg.dataset.whole = svg.dataset.whole || svg.getAttribute("viewBox")).split(" ").slice(2).map(Number);

  function place() {
    const part = 1 / view.zoom;
    for (const axis of ["x", "y"]) view[axis] = Math.max(part / 2, Math.min(1 - part / 2, view[axis]));
    for (const svg of pictures()) {
      const [width, height] = sizeOf(svg);
      svg.setAttribute("viewBox", [(view.x - part / 2) * width, (view.y - part / 2) * height, part * width, part * height].join(" "));
    }
    get("zoomed").textContent = `${Math.round(100 * view.zoom)} %`;
  }
  // What lies under the pointer stays there.
  function zoom(factor, x = view.x, y = view.y) {
    const next = Math.max(1, Math.min(16, view.zoom * factor)), kept = view.zoom / next;
    Object.assign(view, { zoom: next, x: x + (view.x - x) * kept, y: y + (view.y - y) * kept });
    place();
  }
  function move(right, down) { view.x += right / view.zoom; view.y += down / view.zoom; place(); }
  function reset() { Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 }); place(); greys.reset(); }
  function under(event, svg) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const [width, height] = sizeOf(svg);
    return [point.x / width, point.y / height];
  }
  const pictureAt = (event) => event.target.closest && event.target.closest("#large .pictures .picture");

  large.addEventListener("wheel", (event) => {
    const svg = pictureAt(event);
    if (!svg) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, ...under(event, svg));
  }, { passive: false });
  large.addEventListener("dblclick", (event) => {
    const svg = pictureAt(event);
    if (svg) zoom(view.zoom > 1 ? 1 / view.zoom : 3, ...under(event, svg));
  });
  let held = null;
  large.addEventListener("pointerdown", (event) => {
    const svg = pictureAt(event);
    if (!svg || (event.button !== 0 && event.button !== 2)) return;
    const { width } = svg.getBoundingClientRect();
    held = { level: event.button === 2, x: event.clientX, y: event.clientY, width };
    svg.setPointerCapture(event.pointerId);
  });
  large.addEventListener("pointermove", (event) => {
    if (!held) return;
    const right = (event.clientX - held.x) / held.width, down = (event.clientY - held.y) / held.width;
    [held.x, held.y] = [event.clientX, event.clientY];
    if (held.level) greys.drag(right, -down); else move(-right, -down);
  });
  for (const end of ["pointerup", "pointercancel"]) large.addEventListener(end, () => { held = null; });
  large.addEventListener("contextmenu", (event) => { if (pictureAt(event)) event.preventDefault(); });

  get("in").addEventListener("click", () => zoom(1.5));
  get("out").addEventListener("click", () => zoom(1 / 1.5));
  get("reset").addEventListener("click", reset);
  for (const name of ["centre", "spread"]) {
    get(name).addEventListener("input", () => {
      const [level, width] = [Number(get("centre").value), Number(get("spread").value)];
      greys.around(...(greys.isCt ? [level, width] : [255 - level, 512 - width]));
    });
  }
  const keys = {
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), r: reset,
    ArrowUp: () => greys.drag(0, 0.04), ArrowDown: () => greys.drag(0, -0.04),
  };
  const moves = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
  document.addEventListener("keydown", (event) => {
    if (!large.open || document.querySelector("#help[open]") || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.matches("input") && event.key.startsWith("Arrow")) return;
    const action = event.shiftKey && moves[event.key]
      ? () => move(...moves[event.key]) : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action) { event.preventDefault(); action(); }
  });
  large.addEventListener("drawn", (event) => {
    if (event.detail) {  // just opened; another picture is seen where the one before was
      Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 });
      if (!greys.isCt) greys.reset();
    }
    place();
    greys.repaint();
  });
})();
