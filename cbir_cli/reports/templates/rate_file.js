// The file that is saved and read back, and the time that is counted.
(() => {
  const get = (id) => document.getElementById(id), press = (id, action) => get(id).addEventListener("click", action);
  const { study } = reading, { make, say } = shown;
  const file = `${study.rater}-${study.study}.csv`;
  get("file-name").textContent = file;
  document.addEventListener("files", summary);
  function summary() {
    const ended = reading.finished(), count = reading.cases.length;
    const blank = reading.cases.filter((one) => one.finished).reduce((sum, one) => sum + one.order.filter((code) => !(code in one.severity)).length, 0);
    get("summary").textContent = `${ended} of ${count} queries are finished${ended < count ? "; only these count, the others are kept in the file so that you can go on" : ""}.`
      + (blank ? ` ${blank} ranked images have no severity.` : "");
    get("imported").textContent = "";
  }
  press("export", () => {
    const address = URL.createObjectURL(new Blob([reading.table()], { type: "text/csv" }));
    const link = make("a", { href: address, download: file });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    say(`Saved ${file}`);
  });
  get("import").addEventListener("change", async (event) => {
    const [chosen] = event.target.files;
    if (!chosen) return;
    try {
      reading.take(await chosen.text());
      summary();
      get("imported").textContent = `Read: ${reading.finished()} of ${reading.cases.length} queries finished. Undo brings back what was here.`;
    } catch (error) {
      get("imported").textContent = `Not read: ${chosen.name}, ${error.message}. Nothing was changed.`;
    }
    event.target.value = "";
  });

  // --- time: while the page is seen, without pauses of more than a minute ---
  if (study.times) {
    let ticks = 0, quiet = 0;
    for (const sign of ["pointerdown", "pointermove", "keydown"]) addEventListener(sign, () => { quiet = 0; }, true);
    setInterval(() => {
      quiet += 1;
      if (document.hidden || quiet > 60 || get("help").open || get("files").open) return;
      reading.now.seconds += 1;
      ticks += 1;
      if (ticks % 10 === 0) reading.keep();
    }, 1000);
  }
})();
