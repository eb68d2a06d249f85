// The images of the catalogue are dragged: mouse, pen and touch.
(() => {
  const get = (id) => document.getElementById(id);
  const { tiles, make, select } = shown;
  let drag = null, dragged = false;
  const tileOf = (element) => element.closest && element.closest(".tile");
  get("tiles").addEventListener("pointerdown", (event) => {
    dragged = false;
    const picture = event.target.closest(".picture");
    if (!picture || event.button !== 0 || drag) return;
    drag = { item: tileOf(picture), picture, x: event.clientX, y: event.clientY, id: event.pointerId, ghost: null, to: null };
  });
  function lift(event) {
    const box = drag.picture.getBoundingClientRect();
    drag.ghost = make("div", { class: "ghost" }, make("img", { alt: "", src: drag.picture.firstElementChild.src }), make("b"));
    drag.dx = drag.x - box.left;
    drag.dy = drag.y - box.top;
    Object.assign(drag.ghost.style, { width: `${box.width}px`, height: `${box.height}px` });
    document.body.append(drag.ghost);
    document.body.classList.add("dragging");
    drag.item.classList.add("held");
    try { drag.picture.setPointerCapture(event.pointerId); } catch { /* the pointer has gone */ }
    select(drag.item.dataset.code, false);
  }
  function over(event) {
    const order = reading.now.order, from = order.indexOf(drag.item.dataset.code);
    Object.assign(drag.ghost.style, { left: `${event.clientX - drag.dx}px`, top: `${event.clientY - drag.dy}px` });
    let nearest = null;
    order.forEach((code, place) => {
      const box = tiles.get(code).getBoundingClientRect();
      const x = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
      const y = Math.max(box.top - event.clientY, 0, event.clientY - box.bottom);
      const away = x * x + y * y;
      if (!nearest || away < nearest.away) nearest = { away, place, code, after: event.clientX > (box.left + box.right) / 2 };
    });
    let to = nearest.place + nearest.after;
    if (to > from) to -= 1;
    tiles.forEach((item) => item.classList.remove("before", "after"));
    if (to !== from) tiles.get(nearest.code).classList.add(nearest.after ? "after" : "before");
    drag.to = to;
    drag.ghost.querySelector("b").textContent = to + 1;
    const area = get("tiles").getBoundingClientRect();
    if (event.clientY > area.bottom - 30) get("tiles").scrollBy(0, 14);
    if (event.clientY < area.top + 30) get("tiles").scrollBy(0, -14);
  }
  function drop(moved) {
    const { item, ghost, to } = drag;
    drag = null;
    if (!ghost) return;
    dragged = true;
    ghost.remove();
    document.body.classList.remove("dragging");
    item.classList.remove("held");
    tiles.forEach((one) => one.classList.remove("before", "after"));
    if (moved && to !== null) reading.move(item.dataset.code, to);
    select(item.dataset.code);
  }
  addEventListener("pointermove", (event) => {
    if (!drag || event.pointerId !== drag.id) return;
    if (!drag.ghost && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < 6) return;
    if (!drag.ghost) lift(event);
    over(event);
  });
  addEventListener("pointerup", (event) => { if (drag && event.pointerId === drag.id) drop(true); });
  addEventListener("pointercancel", (event) => { if (drag && event.pointerId === drag.id) drop(false); });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !drag) return;
    event.preventDefault();
    drop(false);
  }, true);
  get("tiles").addEventListener("click", (event) => {
    const picture = event.target.closest(".picture");
    if (!picture || dragged) { dragged = false; return; }
    const { code } = tileOf(picture).dataset;
    select(code);
    document.dispatchEvent(new CustomEvent("enlarge", { detail: code }));
  });
})();
