
// Greys: the window of CT images on the whole page; of other images brightness and contrast, in the large view alone.
const greys = (() => {
  const root = document.documentElement, get = (id) => document.getElementById(id);
  const choice = get("window");
  const images = choice ? [...document.querySelectorAll(".store image[data-units]")] : [];
  const first = choice ? JSON.parse(choice.dataset.seen) : [0, 255];
  const now = { low: first[0], high: first[1], seen: true };
  const known = new Map();  // Hounsfield units by the name of the image
  let turn = 0;

  // Two bytes a pixel: red times 256 and green are Hounsfield units above -1024.
  async function unitsOf(image) {
    if (!known.has(image.id)) {
      const stored = new Image();
      stored.src = image.dataset.units;
      await stored.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [stored.naturalWidth, stored.naturalHeight];
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(stored, 0, 0);
      const bytes = context.getImageData(0, 0, canvas.width, canvas.height).data;
      const values = Int16Array.from({ length: bytes.length / 4 }, (_, i) => bytes[4 * i] * 256 + bytes[4 * i + 1] - 1024);
      known.set(image.id, { canvas, context, values });
    }
    return known.get(image.id);
  }
  function windowed({ canvas, context, values }) {
    const pixels = context.createImageData(canvas.width, canvas.height), scale = 255 / (now.high - now.low);
    const whole = new Uint32Array(pixels.data.buffer);
    values.forEach((value, i) => {
      const grey = Math.max(0, Math.min(255, Math.round((value - now.low) * scale)));
      whole[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    });
    context.putImageData(pixels, 0, 0);
    return canvas.toDataURL();
  }

  // Only what can be seen is drawn again.
  async function repaint() {
    const own = ++turn, key = now.seen ? "" : `${now.low} ${now.high}`;
    const uses = document.querySelectorAll(".case:not([hidden]) use:not(.overlay), #large[open] use:not(.overlay)");
    const seen = new Set([...uses].map((use) => use.getAttribute("href").slice(1)));
    for (const image of images) {
      if (!seen.has(image.id) || (image.dataset.window || "") === key) continue;
      image.dataset.first = image.dataset.first || image.getAttribute("href");
      const units = now.seen ? null : await unitsOf(image);
      if (own !== turn) return;  // another window was chosen in the meantime
      image.setAttribute("href", units ? windowed(units) : image.dataset.first);
      image.dataset.window = key;
    }
    root.dataset.painted = key;
  }

  function told() {
    const ends = `${Math.round(now.low)} to ${Math.round(now.high)}`, level = (now.low + now.high) / 2, width = now.high - now.low;
    if (choice) {
      get("hu").textContent = `${ends} HU`;
      root.style.setProperty("--window", `" - CT window ${ends} HU"`);
      [get("level").value, get("width").value] = [level, width];
      get("own").hidden = choice.value !== "own";
    }
    if (get("ends")) {
      get("ends").textContent = choice ? `${ends} HU` : now.seen ? "" : ends;
      // A brighter picture has a lower level, one of more contrast a narrower width.
      get("centre").value = choice ? level : 255 - level;
      get("spread").value = choice ? width : 512 - width;
    }
  }
  function set(low, high, seen = false) {
    Object.assign(now, { low, high: Math.max(low + 1, high), seen });
    if (choice) {
      const preset = [...choice.options].find((option) => option.value === `${now.low},${now.high}`);
      choice.value = seen ? "" : preset ? preset.value : "own";
      repaint();
    } else {
      root.classList.toggle("greys", !seen);
      const slope = 255 / (now.high - now.low);
      for (const part of document.querySelectorAll("#greys feComponentTransfer > *")) {
        part.setAttribute("slope", slope);
        part.setAttribute("intercept", -now.low / 255 * slope);
      }
    }
    told();
  }
  const around = (level, width) => set(level - width / 2, level + width / 2);
  const reset = () => set(...first, true);
  // By a part of the range: to the right wider, upwards brighter, as on the reading page.
  function drag(right, up) {
    const range = choice ? 1000 : 255, level = (now.low + now.high) / 2, width = now.high - now.low;
    around(level - up * range, Math.max(choice ? 10 : 2, width + right * range));
  }
  const fit = () => around(Number(get("level").value), Number(get("width").value));
  if (choice) {
    choice.addEventListener("change", () => {
      if (choice.value === "own") { told(); return; }
      if (choice.value) set(...choice.value.split(",").map(Number));
      else reset();
    });
    for (const name of ["level", "width"]) get(name).addEventListener("input", fit);
    document.addEventListener("shown", repaint);
    document.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "w" || event.ctrlKey || event.altKey || event.metaKey || event.target.matches("select")) return;
      const last = choice.options.length - 2;  // the one after it is set by hand
      choice.selectedIndex = choice.selectedIndex < last ? choice.selectedIndex + 1 : 0;
      choice.dispatchEvent(new Event("change"));
    });
  }
  if (choice || get("ends")) told();
  return { around, drag, repaint, reset, isCt: Boolean(choice) };
})();
