// The figure of the front page: draw, see it denoised, and see the harmonics that the drawing calls up.
"use strict";

GAHB.figures.front = function (box, data, { say, network }) {
  const { element, button, slider, paint, call, panel, group, mark } = GAHB;
  const W = data.size,
    H = W,
    N = W * W,
    NUM = 12;
  const examples = GAHB.images(data.examples, N);
  const picture = box.querySelector(".gahb-live-picture");

  let x = Float32Array.from(examples[data.first]),
    sigma = data.sigma,
    seed = 1,
    item = data.networks[0];
  let y = null,
    estimate = null,
    owner = ""; // what is shown, and the network that made it: set together
  let reached = null; // the last estimate of the ascent
  let atoms = [],
    ink = 1,
    spectrumJob = null,
    busy = false,
    stale = false,
    chosen = 0;
  let cursor = [W >> 1, H >> 1],
    swaying = 0,
    swayed = -1,
    pointed = null;

  // --- what the reader sees ------------------------------------------------------------------

  const keys = "arrow keys move the brush, space draws, backspace wipes, with shift the brush draws as it moves";
  const drawing = panel("x, your drawing", `the clean image, to draw on: ${keys}`, {
    tabIndex: 0,
    role: "application",
  });
  const noisy = panel("y = x + σz", "the noisy image");
  const clean = panel(
    "f(y), the estimate",
    "the network's estimate: point at a pixel, or move over it with the arrow keys, to see the filter that makes it",
    { tabIndex: 0, role: "application" },
  );
  const rest = panel("y − f(y)", "the residual, or the filter of the pixel pointed at");
  drawing.canvas.classList.add("gahb-live-draw");
  const panels = [drawing, noisy, clean, rest];

  const tiles = Array.from({ length: NUM }, (_, k) => {
    const canvas = element("canvas", { className: "gahb-live-pixels" }),
      value = element("span", { className: "gahb-live-value" });
    const bar = element("span", { className: "gahb-live-bar" });
    const tile = element(
      "button",
      {
        type: "button",
        className: "gahb-live-atom",
        "aria-label": `eigenvector ${k + 1}: hold to move the estimate along it`,
      },
      canvas,
      bar,
      value,
    );
    return { canvas, value, bar, tile };
  });
  const status = element("p", { className: "gahb-live-status", "aria-live": "polite" });

  const s = data.sigmas;
  const level = slider({
    label: "noise σ",
    min: 0,
    max: s.length - 1,
    step: 1,
    value: s.indexOf(sigma),
    show: (i) => s[i].toFixed(2),
    onInput: (i) => {
      sigma = s[i];
      refresh();
    },
  });
  const pens = [button("draw", () => choosePen(1)), button("wipe", () => choosePen(0))];
  const ascent = GAHB.runs("ascend from noise", say, climb, (running) => {
    drawing.box.classList.toggle("gahb-live-waiting", running);
    if (!running) refresh();
  });
  const file = element("input", {
    type: "file",
    accept: "image/*",
    className: "gahb-live-hidden",
    tabIndex: -1,
    "aria-label": "a photograph of your own",
  });
  const photo = button("your photograph", () => file.click(), {
    title: "from a file or the camera; it does not leave this machine",
  });
  const nets = data.networks.map((n) => button(n.label, () => chooseNetwork(n)));
  const thumbs = examples.map((image, i) => {
    const canvas = element("canvas", { className: "gahb-live-pixels" });
    paint(canvas, image, H, W);
    return element(
      "button",
      { type: "button", className: "gahb-live-thumb", "aria-label": data.names[i], onclick: () => take(image) },
      canvas,
    );
  });
  const stage = element(
    "div",
    { className: "gahb-live-stage" },
    element("div", { className: "gahb-live-panels" }, ...panels.map((p) => p.box)),
    element(
      "div",
      { className: "gahb-live-tools" },
      level,
      ascent.button,
      button("other noise", () => {
        seed++;
        refresh();
      }),
    ),
    element("div", { className: "gahb-live-atoms" }, ...tiles.map((t) => t.tile)),
    element(
      "div",
      { className: "gahb-live-tools" },
      group(
        "start from",
        ...thumbs,
        photo,
        file,
        button("nothing", () => take(new Float32Array(N))),
      ),
      group("brush", ...pens),
      group("a network that learned", ...nets),
    ),
    status, // last: it grows, and the buttons keep their places
  );
  picture.before(stage);
  picture.hidden = true;
  GAHB.cut(picture, [
    ...panels.map((p, i) => [p.canvas, 100 * i, 0, 96, 96]),
    ...tiles.map((t, k) => [t.canvas, 66 * (k % 6), 100 + 66 * Math.floor(k / 6), 64, 64]),
  ]);
  data.lam.forEach((l, k) => showFactor(k, l, 0));
  showPsnr(data.psnr[0], data.psnr[1]);
  choosePen(1);
  mark(nets, nets[0]);

  function choosePen(value) {
    ink = value;
    mark(pens, pens[value ? 0 : 1]);
  }

  function chooseNetwork(net) {
    item = net;
    mark(nets, nets[data.networks.indexOf(net)]);
    forget();
    atoms = [];
    if (ascent.running()) keep(reached); // where the ascent of the other network stands is the drawing
    ascent.end();
    refresh();
  }

  function show({ canvas }, values, signed = false, scale = 0) {
    canvas.dataset.live = "yes";
    paint(canvas, values, H, W, signed, scale);
  }

  function showFactor(k, lam, residual) {
    const { canvas, value, bar, tile } = tiles[k];
    value.textContent = `λ = ${lam.toFixed(2)}`;
    tile.setAttribute("aria-label", `${value.textContent}, eigenvector ${k + 1}: hold to move the estimate along it`);
    bar.style.width = `${100 * Math.min(1, Math.max(0, lam))}%`;
    canvas.style.opacity = bar.style.opacity = 1 - 0.7 * Math.min(1, residual / 0.3);
  }

  function showPsnr(before, after) {
    noisy.value.textContent = Number.isFinite(before) ? `${before.toFixed(1)} dB` : "";
    clean.value.textContent = Number.isFinite(after) ? `${after.toFixed(1)} dB` : "";
  }

  function showDrawing() {
    show(drawing, x);
    if (document.activeElement !== drawing.canvas || !drawing.canvas.matches(":focus-visible")) return;
    const pen = drawing.canvas.getContext("2d");
    pen.strokeStyle = "#e69f00";
    pen.strokeRect(cursor[0] - 1.5 + 0.5, cursor[1] - 1.5 + 0.5, 3, 3);
  }

  function showRest() {
    rest.title.textContent = "y − f(y)";
    rest.value.textContent = "";
    show(
      rest,
      y.map((v, i) => v - estimate[i]),
      true,
    );
  }

  // --- what the worker computes --------------------------------------------------------------

  const remind = () => say(x.some((v) => v > 0) ? "" : "Nothing yet: draw with a finger, the mouse, or the keys.");

  const failed = (error) => say(`The figure keeps its picture: ${error.message}.`);

  async function refresh() {
    showDrawing();
    if (ascent.running()) return;
    stale = true;
    if (busy) return;
    busy = true;
    while (stale) {
      stale = false;
      try {
        await denoise(item);
      } catch (error) {
        if (!stale) failed(error);
      }
    }
    busy = false;
  }

  async function denoise(net) {
    // it shows nothing once a newer picture is asked for by `refresh`
    await network(net);
    remind();
    if (ascent.running() || net !== item) return;
    const now = GAHB.methods.addNoise(x, sigma, seed);
    show(noisy, now);
    const answer = await call("denoise", { net: net.name, y: now, H, W });
    if (ascent.running() || net !== item) return;
    [y, estimate, owner] = [now, answer.estimate, net.name];
    show(clean, estimate);
    if (pointed) point(pointed);
    else showRest();
    showPsnr(GAHB.methods.psnr(y, x), GAHB.methods.psnr(estimate, x));
    if (!stale) spectrum(0.02, 400);
  }

  /** What is being sought belongs to a picture or a network that is gone. */
  function forget() {
    if (spectrumJob) spectrumJob.stop();
    spectrumJob = null;
  }

  function spectrum(tol, most) {
    // at what is shown
    forget();
    const begun = performance.now();
    const draw = (step) => {
      if (spectrumJob !== job || !step) return;
      atoms = step.atoms;
      step.atoms.forEach((atom, k) => {
        show(tiles[k], atom, true);
        showFactor(k, step.lam[k], step.residuals[k]);
      });
      const worst = Math.max(...step.residuals),
        seconds = (performance.now() - begun) / 1000;
      status.textContent = `${step.products} products with J and Jᵀ, ${seconds.toFixed(1)} s: the least exact of ${step.residuals.length} is off by ${worst.toFixed(3)}.`;
    };
    const args = { net: owner, y, H, W, num: NUM, tol, most, start: atoms.length ? atoms : null };
    const job = call("eigenpairs", args, draw);
    spectrumJob = job;
    job
      .then((last) => {
        if (!last.stopped) draw(last);
        if (spectrumJob === job) spectrumJob = null;
      })
      .catch((error) => spectrumJob === job && failed(error));
  }

  async function climb(run) {
    reached = null;
    const net = item,
      random = () => Math.floor(Math.random() * 2 ** 31);
    await run.ready(network(net));
    forget();
    const start = GAHB.methods.noise(N, random()).map((z) => 0.5 + z),
      showStep = (step) => showClimb(step, net);
    const last = await run.owned(
      run.call(
        "ascend",
        { net: net.name, y: start, H, W, beta: 0.1, sigmaEnd: 0.02, pace: data.pace, seed: random() },
        showStep,
      ),
    );
    showStep(last);
    keep(last.estimate);
  }

  function showClimb(step, net) {
    [y, estimate, owner, reached] = [step.y, step.estimate, net.name, step.estimate];
    show(noisy, y);
    show(clean, estimate);
    showRest(); // also under the pointer: no filter is shown during an ascent
    showPsnr(NaN, NaN);
    noisy.value.textContent = `step ${step.iteration}, σ̂ = ${step.sigma.toFixed(2)}`;
    if (!spectrumJob) spectrum(0.05, 60);
  }

  function keep(image) {
    if (image) x = image.map((v) => Math.min(1, Math.max(0, v)));
  }

  /** Draw what the reader has chosen: an ascent on its way is over. */
  function take(image) {
    chosen++;
    x = Float32Array.from(image);
    ascent.end();
    remind();
    refresh();
  }

  // --- drawing -------------------------------------------------------------------------------

  function dab(px, py, radius = 1.5) {
    chosen++;
    ascent.end();
    for (let r = 0; r < H; r++)
      for (let c = 0; c < W; c++) {
        const reach = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(c + 0.5 - px, r + 0.5 - py)));
        x[r * W + c] += reach * (ink - x[r * W + c]);
      }
  }

  const place = (canvas, event) => {
    const area = canvas.getBoundingClientRect();
    return [((event.clientX - area.left) / area.width) * W, ((event.clientY - area.top) / area.height) * H];
  };
  let from = null;
  drawing.canvas.addEventListener("pointerdown", (event) => {
    drawing.canvas.setPointerCapture(event.pointerId);
    from = place(drawing.canvas, event);
    say("");
    dab(...from);
    refresh();
  });
  drawing.canvas.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = place(drawing.canvas, event),
      steps = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / 0.7);
    for (let i = 1; i <= steps; i++)
      dab(from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps);
    from = to;
    refresh();
  });
  for (const kind of ["pointerup", "pointercancel"]) drawing.canvas.addEventListener(kind, () => (from = null));

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const moved = (at, [dx, dy]) => [Math.min(W - 1, Math.max(0, at[0] + dx)), Math.min(H - 1, Math.max(0, at[1] + dy))];
  drawing.canvas.addEventListener("keydown", (event) => {
    const before = ink;
    if (ARROWS[event.key]) cursor = moved(cursor, ARROWS[event.key]);
    else if (event.key === "Backspace" || event.key === "Delete") ink = 0;
    else if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!ARROWS[event.key] || event.shiftKey) {
      dab(cursor[0] + 0.5, cursor[1] + 0.5);
      ink = before;
      refresh();
    } else showDrawing();
  });
  for (const kind of ["focus", "blur"])
    drawing.canvas.addEventListener(kind, () => drawing.canvas.dataset.live && showDrawing());

  // --- a photograph --------------------------------------------------------------------------

  file.addEventListener("change", async () => {
    const [picked] = file.files;
    file.value = "";
    if (!picked) return;
    const mine = ++chosen;
    if (!readsPixels()) {
      say(
        "This browser, against fingerprinting, gives a page noise in place of the pixels of a picture: your photograph would be noise. Allow the page to read its canvas, or draw.",
      );
      return;
    }
    try {
      const image = await readPhoto(picked);
      if (mine === chosen) take(image); // else the reader has gone on to another
    } catch {
      say(`${picked.name} is not a picture that this browser can read.`);
    }
  });

  /** Return whether a canvas gives back what was written on it, but for the last bits. */
  function readsPixels() {
    const side = 16,
      pen = element("canvas", { width: side, height: side }).getContext("2d", { willReadFrequently: true });
    const written = new ImageData(
      Uint8ClampedArray.from({ length: 4 * side * side }, (_, i) => (i % 4 === 3 ? 255 : (37 * i) % 256)),
      side,
      side,
    );
    pen.putImageData(written, 0, 0);
    const read = pen.getImageData(0, 0, side, side).data;
    return read.filter((v, i) => Math.abs(v - written.data[i]) > 2).length < 0.05 * read.length;
  }

  async function readPhoto(picked) {
    let source = /** @type {any} */ (await createImageBitmap(picked, { imageOrientation: "from-image" }));
    let side = Math.min(source.width, source.height),
      left = (source.width - side) / 2,
      top = (source.height - side) / 2;
    for (;;) {
      // halve by halves: one great step would leave out pixels
      const next = Math.max(W, side > 2 * W ? Math.ceil(side / 2) : W),
        canvas = element("canvas", { width: next, height: next });
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      pen.imageSmoothingQuality = "high";
      pen.drawImage(source, left, top, side, side, 0, 0, next, next);
      [source, side, left, top] = [canvas, next, 0, 0];
      if (next === W) break;
    }
    const { data: rgba } = source.getContext("2d").getImageData(0, 0, W, H);
    return Float32Array.from(
      { length: N },
      (_, i) => (0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2]) / 255,
    );
  }

  // --- filters, and the way along an eigenvector ---------------------------------------------

  let filterBusy = false;
  async function point(at) {
    pointed = at;
    if (filterBusy || ascent.running() || !estimate) return;
    filterBusy = true;
    try {
      for (let done = null, of = null; pointed && !ascent.running() && (done !== pointed || of !== y); ) {
        [done, of] = [pointed, y];
        const [c, r] = done,
          filter = await call("filter", { net: owner, y: of, H, W, pixel: r * W + c });
        if (!pointed || of !== y) continue;
        show(rest, filter, true);
        rest.title.textContent = "filter of this pixel";
        rest.value.textContent = `⟨filter, y⟩ = ${GAHB.methods.dot(filter, of).toFixed(2)}`;
      }
    } catch (error) {
      failed(error);
    }
    filterBusy = false;
    if (!pointed) showRest();
  }

  function leave() {
    pointed = null;
    if (estimate) {
      showRest();
      show(clean, estimate);
    }
  }
  const pixelOf = (event) => moved(place(clean.canvas, event).map(Math.floor), [0, 0]);
  for (const kind of ["pointermove", "pointerdown"])
    clean.canvas.addEventListener(kind, (event) => {
      point(pixelOf(event));
      if (kind === "pointerdown" && !estimate) refresh(); // and then the filter
    });
  clean.canvas.addEventListener("pointerleave", (event) => event.pointerType === "touch" || leave());
  document.addEventListener("pointerdown", (event) => event.target !== clean.canvas && leave()); // a finger's, elsewhere
  clean.canvas.addEventListener("blur", leave);
  clean.canvas.addEventListener("keydown", async (event) => {
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    cursor = moved(cursor, ARROWS[event.key]);
    point([...cursor]);
    if (!estimate) await refresh();
    if (!estimate) return;
    show(clean, estimate);
    clean.canvas.getContext("2d").strokeStyle = "#e69f00";
    clean.canvas.getContext("2d").strokeRect(cursor[0] - 0.5, cursor[1] - 0.5, 2, 2);
  });

  function sway(k) {
    if (!estimate || !atoms[k] || ascent.running()) return;
    swayed = k;
    const mine = ++swaying,
      atom = atoms[k],
      most = GAHB.scaleOf(atom);
    const begun = performance.now(),
      still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const frame = (now) => {
      if (mine !== swaying || ascent.running()) return;
      const along = still ? 1 : Math.sin((now - begun) / 260);
      show(
        clean,
        estimate.map((v, i) => v + (0.6 * along * atom[i]) / most),
      );
      if (!still) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }
  function atRest(k) {
    // what another began goes on
    if (swayed !== k) return;
    swaying++;
    swayed = -1;
    if (estimate && !ascent.running()) show(clean, estimate);
  }
  tiles.forEach(({ tile }, k) => {
    for (const kind of ["pointerenter", "pointerdown"]) tile.addEventListener(kind, () => sway(k));
    tile.addEventListener("focus", () => tile.matches(":focus-visible") && sway(k)); // a finger's focus comes after it has left
    for (const kind of ["pointerleave", "blur", "pointercancel"]) tile.addEventListener(kind, () => atRest(k));
    tile.addEventListener("click", () => !estimate && refresh());
  });
};
