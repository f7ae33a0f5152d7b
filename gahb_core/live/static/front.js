// The figure of the front page: draw, see it denoised, and see the harmonics that the drawing calls up.
"use strict";

GAHB.figures.front = function (box, data, { say, network }) {
  const { element, button, slider, paint, call, panel, group, mark } = GAHB;
  const W = data.size, H = W, N = W * W, NUM = 12;
  const examples = GAHB.images(data.examples, N);
  const picture = box.querySelector(".gahb-live-picture");

  let x = Float32Array.from(examples[data.first]), sigma = data.sigma, seed = 1, item = data.networks[0];
  let y = null, estimate = null, atoms = [], ink = 1, climb = null, spectrumJob = null, busy = false, stale = false;
  let cursor = [W >> 1, H >> 1], swaying = 0, pointed = null;

  // --- what the reader sees ------------------------------------------------------------------

  const keys = "arrow keys move the brush, space draws, backspace wipes, with shift the brush draws as it moves";
  const drawing = panel("x, your drawing", `the clean image, to draw on: ${keys}`, { tabIndex: 0, role: "application" });
  const noisy = panel("y = x + σz", "the noisy image");
  const clean = panel("f(y), the estimate", "the network's estimate: point at a pixel, or move over it with the arrow keys, to see the filter that makes it", { tabIndex: 0, role: "application" });
  const rest = panel("y − f(y)", "the residual, or the filter of the pixel pointed at");
  drawing.canvas.classList.add("gahb-live-draw");
  const panels = [drawing, noisy, clean, rest];

  const tiles = Array.from({ length: NUM }, (_, k) => {
    const canvas = element("canvas", { className: "gahb-live-pixels" }), value = element("span", { className: "gahb-live-value" });
    const bar = element("span", { className: "gahb-live-bar" });
    const tile = element("button", { type: "button", className: "gahb-live-atom", "aria-label": `eigenvector ${k + 1}: hold to move the estimate along it` }, canvas, bar, value);
    return { canvas, value, bar, tile };
  });
  const status = element("p", { className: "gahb-live-status", "aria-live": "polite" });

  const s = data.sigmas;
  const level = slider({
    label: "noise σ", min: 0, max: s.length - 1, step: 1, value: s.indexOf(sigma), show: (i) => s[i].toFixed(2),
    onInput: (i) => {
      sigma = s[i];
      refresh();
    },
  });
  const pens = [button("draw", () => choosePen(1)), button("wipe", () => choosePen(0))];
  const climbButton = button("ascend from noise", () => (climb ? climb.stop() : climbFromNoise()), { className: "gahb-live-main" });
  const file = element("input", { type: "file", accept: "image/*", className: "gahb-live-hidden", tabIndex: -1, "aria-label": "a photograph of your own" });
  const photo = button("your photograph", () => file.click(), { title: "from a file or the camera; it does not leave this machine" });
  const nets = data.networks.map((n) => button(n.label, () => chooseNetwork(n)));
  const thumbs = examples.map((image, i) => {
    const canvas = element("canvas", { className: "gahb-live-pixels" });
    paint(canvas, image, H, W);
    return element("button", { type: "button", className: "gahb-live-thumb", "aria-label": data.names[i], onclick: () => take(image) }, canvas);
  });
  const stage = element(
    "div", { className: "gahb-live-stage" },
    element("div", { className: "gahb-live-panels" }, ...panels.map((p) => p.box)),
    element("div", { className: "gahb-live-tools" }, level, climbButton, button("other noise", () => { seed++; refresh(); })),
    element("div", { className: "gahb-live-atoms" }, ...tiles.map((t) => t.tile)),
    status,
    element("div", { className: "gahb-live-tools" },
      group("start from", ...thumbs, photo, file, button("nothing", () => take(new Float32Array(N)))),
      group("brush", ...pens), group("a network that learned", ...nets)),
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

  function chooseNetwork(chosen) {
    item = chosen;
    mark(nets, nets[data.networks.indexOf(chosen)]);
    atoms = [];
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
    if (pointed) return;
    rest.title.textContent = "y − f(y)";
    rest.value.textContent = "";
    show(rest, y.map((v, i) => v - estimate[i]), true);
  }

  // --- what the worker computes --------------------------------------------------------------

  async function wake() {
    const known = await network(item);
    if (!estimate) remind();
    return known;
  }
  const remind = () => say(x.some((v) => v > 0) ? "" : "Nothing yet: draw with a finger, the mouse, or the keys.");

  const failed = (error) => say(`The figure keeps its picture: ${error.message}.`);

  async function refresh() {
    showDrawing();
    if (climb) return;
    stale = true;
    if (busy) return;
    busy = true;
    try {
      while (stale) {
        await wake();
        stale = false;
        const now = GAHB.methods.addNoise(x, sigma, seed);
        show(noisy, now);
        const answer = await call("denoise", { net: item.name, y: now, H, W });
        if (climb) break;
        [y, estimate] = [now, answer.estimate];
        show(clean, estimate);
        showRest();
        showPsnr(GAHB.methods.psnr(y, x), GAHB.methods.psnr(estimate, x));
        if (!stale) spectrum(y, 0.02, 400);
      }
    } catch (error) {
      failed(error);
    } finally {
      busy = false;
    }
    if (pointed) point(pointed);
  }

  function spectrum(at, tol, most) {
    if (spectrumJob) spectrumJob.stop();
    const begun = performance.now();
    const draw = (step) => {
      if (spectrumJob !== job || !step) return;
      atoms = step.atoms;
      step.atoms.forEach((atom, k) => {
        show(tiles[k], atom, true);
        showFactor(k, step.lam[k], step.residuals[k]);
      });
      const worst = Math.max(...step.residuals), seconds = (performance.now() - begun) / 1000;
      status.textContent = `${step.products} products with J and Jᵀ, ${seconds.toFixed(1)} s: the least exact of the twelve is off by ${worst.toFixed(3)}.`;
    };
    const args = { net: item.name, y: at, H, W, num: NUM, tol, most, start: atoms.length ? atoms : null };
    const job = call("eigenpairs", args, draw);
    spectrumJob = job;
    job.then((last) => {
      if (!last.stopped) draw(last);
      if (spectrumJob === job) spectrumJob = null;
    }).catch(failed);
  }

  async function climbFromNoise() {
    try {
      await wake();
      const start = GAHB.methods.noise(N, Math.floor(Math.random() * 2 ** 31)).map((z) => 0.5 + z);
      const job = call("ascend", { net: item.name, y: start, H, W, beta: 0.1, sigmaEnd: 0.02, pace: data.pace, seed: Math.floor(Math.random() * 2 ** 31) }, (step) => climb === job && showStep(step));
      climb = job;
      climbButton.textContent = "stop";
      drawing.box.classList.add("gahb-live-waiting");
      const last = await job;
      showStep(last);
      x = last.estimate.map((v) => Math.min(1, Math.max(0, v)));
    } catch (error) {
      failed(error);
    }
    climb = null;
    climbButton.textContent = "ascend from noise";
    drawing.box.classList.remove("gahb-live-waiting");
    refresh();
  }

  function showStep(step) {
    [y, estimate] = [step.y, step.estimate];
    show(noisy, y);
    show(clean, estimate);
    showRest();
    showPsnr(NaN, NaN);
    noisy.value.textContent = `step ${step.iteration}, σ̂ = ${step.sigma.toFixed(2)}`;
    if (!spectrumJob) spectrum(y, 0.05, 60);
  }

  function take(image) {
    x = Float32Array.from(image);
    remind();
    refresh();
  }

  // --- drawing -------------------------------------------------------------------------------

  function dab(px, py, radius = 1.5) {
    for (let r = 0; r < H; r++) for (let c = 0; c < W; c++) {
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
    const to = place(drawing.canvas, event), steps = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / 0.7);
    for (let i = 1; i <= steps; i++) dab(from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps);
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
  for (const kind of ["focus", "blur"]) drawing.canvas.addEventListener(kind, () => drawing.canvas.dataset.live && showDrawing());

  // --- a photograph --------------------------------------------------------------------------

  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    file.value = "";
    if (!chosen) return;
    try {
      take(await readPhoto(chosen));
    } catch {
      say(`${chosen.name} is not a picture that this browser can read.`);
    }
  });

  async function readPhoto(chosen) {
    let source = await createImageBitmap(chosen, { imageOrientation: "from-image" });
    let side = Math.min(source.width, source.height), left = (source.width - side) / 2, top = (source.height - side) / 2;
    for (;;) { // halve by halves: one great step would leave out pixels
      const next = Math.max(W, side > 2 * W ? Math.ceil(side / 2) : W), canvas = element("canvas", { width: next, height: next });
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      pen.imageSmoothingQuality = "high";
      pen.drawImage(source, left, top, side, side, 0, 0, next, next);
      [source, side, left, top] = [canvas, next, 0, 0];
      if (next === W) break;
    }
    const { data: rgba } = source.getContext("2d").getImageData(0, 0, W, H);
    return Float32Array.from({ length: N }, (_, i) => (0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2]) / 255);
  }

  // --- filters, and the way along an eigenvector ---------------------------------------------

  let filterBusy = false;
  async function point(at) {
    pointed = at;
    if (filterBusy || climb || !estimate) return;
    filterBusy = true;
    try {
      for (let done = null; pointed && done !== pointed;) {
        done = pointed;
        const [c, r] = done, filter = await call("filter", { net: item.name, y, H, W, pixel: r * W + c });
        if (!pointed) break;
        show(rest, filter, true);
        rest.title.textContent = "filter of this pixel";
        rest.value.textContent = `⟨filter, y⟩ = ${GAHB.methods.dot(filter, y).toFixed(2)}`;
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
  for (const kind of ["pointermove", "pointerdown"]) clean.canvas.addEventListener(kind, async (event) => {
    const at = pixelOf(event);
    if (kind === "pointerdown" && !estimate) await refresh();
    point(at);
  });
  clean.canvas.addEventListener("pointerleave", (event) => event.pointerType === "touch" || leave());
  document.addEventListener("pointerdown", (event) => event.target !== clean.canvas && leave()); // a finger's, elsewhere
  clean.canvas.addEventListener("blur", leave);
  clean.canvas.addEventListener("keydown", async (event) => {
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    cursor = moved(cursor, ARROWS[event.key]);
    if (!estimate) await refresh();
    if (!estimate) return;
    show(clean, estimate);
    clean.canvas.getContext("2d").strokeStyle = "#e69f00";
    clean.canvas.getContext("2d").strokeRect(cursor[0] - 0.5, cursor[1] - 0.5, 2, 2);
    point([...cursor]);
  });

  function sway(k) {
    if (!estimate || !atoms[k] || climb) return;
    const mine = ++swaying, atom = atoms[k], most = GAHB.scaleOf(atom);
    const begun = performance.now(), still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const frame = (now) => {
      if (mine !== swaying || climb) return;
      const along = still ? 1 : Math.sin((now - begun) / 260);
      show(clean, estimate.map((v, i) => v + (0.6 * along * atom[i]) / most));
      if (!still) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }
  function atRest() {
    swaying++;
    if (estimate && !climb) show(clean, estimate);
  }
  tiles.forEach(({ tile }, k) => {
    for (const kind of ["pointerenter", "focus", "pointerdown"]) tile.addEventListener(kind, () => sway(k));
    for (const kind of ["pointerleave", "blur", "pointercancel"]) tile.addEventListener(kind, atRest);
    tile.addEventListener("click", () => !estimate && refresh());
  });
};
