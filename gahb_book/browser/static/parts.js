// Parts that several figures of chapters share, and the front page does without: sets of images, charts, pointing.
"use strict";

(function () {
  if (GAHB.chart) return;

  /** Return a promise of a set of images, in the worker under its name and here: [x_1, …]. */
  const sets = new Map();
  GAHB.imageSet = function ({ name, file }, fetch = null) {
    if (!sets.has(name)) {
      const read = () => (fetch ? fetch(name) : GAHB.readFile(file));
      const loading = GAHB.library()
        .then(read)
        .then(async ({ header, data }) => {
          if (header.name !== name || !header.pixels)
            throw new Error(`the file ${file} holds another set, ${header.name}`);
          const images = GAHB.images(data, header.pixels);
          await GAHB.call("keep", { set: name, images });
          return images;
        });
      sets.set(name, loading);
      loading.catch(() => sets.delete(name));
    }
    return sets.get(name);
  };

  /** Return { box, draw(lines), place(event) }: a chart of lines [{ points: [[x, y]], colour, dashed }] over ranges; `log`: y is. */
  GAHB.chart = function ({ text, x, y, log = false, xLabel, yLabel, ticks, H = 200 }) {
    const make = (kind, attributes, content = "") => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      made.textContent = content;
      return made;
    };
    const W = 360,
      L = 46,
      B = 36,
      scale = log ? Math.log : (v) => v;
    const box = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": text, class: "gahb-live-chart" });
    const draw = (lines, range = x, high = y[1]) => {
      const at = ([u, v]) => [
        L + ((u - range[0]) / (range[1] - range[0])) * (W - L - 8),
        8 + (1 - (scale(Math.min(high, Math.max(y[0], v))) - scale(y[0])) / (scale(high) - scale(y[0]))) * (H - B - 8),
      ];
      box.replaceChildren();
      for (const v of ticks.filter((tick) => tick <= high)) {
        const [, top] = at([range[0], v]);
        box.append(
          make("line", { x1: L, x2: W - 8, y1: top, y2: top, class: "gahb-live-grid" }),
          make("text", { x: L - 6, y: top + 4, "text-anchor": "end" }, String(v)),
        );
      }
      for (const u of range)
        box.append(
          make(
            "text",
            { x: at([u, y[0]])[0], y: H - B + 16, "text-anchor": u === range[0] ? "start" : "end" },
            String(u),
          ),
        );
      box.append(
        make("text", { x: (L + W) / 2, y: H - 6, "text-anchor": "middle" }, xLabel),
        make(
          "text",
          { x: 12, y: (H - B) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(H - B) / 2})` },
          yLabel,
        ),
      );
      for (const { points, colour, dashed, dots } of lines) {
        if (dots)
          for (const p of points) box.append(make("circle", { cx: at(p)[0], cy: at(p)[1], r: 4, fill: colour }));
        else
          box.append(
            make("polyline", {
              points: points
                .map((p) =>
                  at(p)
                    .map((c) => c.toFixed(1))
                    .join(","),
                )
                .join(" "),
              fill: "none",
              stroke: colour,
              "stroke-width": 2,
              "stroke-dasharray": dashed ? "5 4" : "none",
            }),
          );
      }
    };
    draw([]);
    const place = (event) => {
      const area = box.getBoundingClientRect(),
        u = ((event.clientX - area.left) / area.width) * W,
        v = ((event.clientY - area.top) / area.height) * H;
      const clip = (t) => Math.min(1, Math.max(0, t));
      const up = 1 - clip((v - 8) / (H - B - 8));
      return [
        x[0] + clip((u - L) / (W - L - 8)) * (x[1] - x[0]),
        log ? y[0] * (y[1] / y[0]) ** up : y[0] + up * (y[1] - y[0]),
      ];
    };
    return { box, draw, place };
  };

  /**
   * Return seed ↦ where an ascent begins: the mean, every pattern times a normal number (a draw of the Gaussian fitted
   * to the training images), and noise of deviation 1. The methods must be there.
   */
  GAHB.starts = function ({ mean, patterns, steps }) {
    const bytes = atob(patterns),
      N = bytes.length / steps.length,
      [middle] = GAHB.images(mean, N);
    const rows = steps.map((step, k) =>
      Float32Array.from({ length: N }, (_, i) => step * ((bytes.charCodeAt(k * N + i) << 24) >> 24)),
    );
    return (seed) => {
      const z = GAHB.methods.noise(rows.length + N, seed),
        y = middle.map((v, i) => v + z[rows.length + i]);
      rows.forEach((row, k) => GAHB.addTo(y, row, z[k]));
      return y;
    };
  };

  /** Steps [column, row] of the arrow keys. */
  GAHB.ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  /** Tell `onPoint` the pixel of a canvas, W across, that a pointer or the arrow keys are at, `onLeave` when it ends. */
  GAHB.pointAt = function (canvas, W, onPoint, onLeave) {
    const clip = (v) => Math.min(W - 1, Math.max(0, Math.floor(v)));
    let at = [W >> 1, W >> 1];
    for (const kind of ["pointermove", "pointerdown"])
      canvas.addEventListener(kind, (event) => {
        const area = canvas.getBoundingClientRect();
        at = [
          clip(((event.clientX - area.left) / area.width) * W),
          clip(((event.clientY - area.top) / area.height) * W),
        ];
        onPoint(at);
      });
    canvas.addEventListener("keydown", (event) => {
      const move = GAHB.ARROWS[event.key];
      if (!move) return;
      event.preventDefault();
      at = [clip(at[0] + move[0]), clip(at[1] + move[1])];
      onPoint(at);
    });
    canvas.addEventListener("pointerleave", (event) => event.pointerType === "touch" || onLeave());
    canvas.addEventListener("blur", onLeave);
    document.addEventListener("pointerdown", (event) => event.target !== canvas && onLeave()); // a finger's, elsewhere
  };

  /** Tell `onDrag(event, begun)` where a pointer that is held down moves on an element. */
  GAHB.drag = function (area, onDrag) {
    let held = false;
    area.classList.add("gahb-live-drag");
    area.addEventListener("pointerdown", (event) => {
      held = true;
      area.setPointerCapture(event.pointerId);
      onDrag(event, true);
    });
    area.addEventListener("pointermove", (event) => held && onDrag(event, false));
    for (const kind of ["pointerup", "pointercancel"]) area.addEventListener(kind, () => (held = false));
  };

  /** Return where an event is on a canvas of an image, W pixels across, as [column, row]. */
  GAHB.placeOn = function (canvas, event, W) {
    const area = canvas.getBoundingClientRect();
    return [((event.clientX - area.left) / area.width) * W, ((event.clientY - area.top) / area.height) * W];
  };

  /**
   * Let a pointer, or the arrow keys and space, draw on a canvas of an image, W pixels across: `dab(pixels)` gets the
   * numbers of those under a brush of `width()`, `lifted()` says that a stroke has ended, `moved()` that nothing but
   * the keys' cursor moved. Return that cursor, [column, row].
   */
  GAHB.brush = function (canvas, W, { width, dab, moved, lifted = () => {} }) {
    const cursor = [W >> 1, W >> 1],
      pixels = Array.from({ length: W * W }, (_, i) => i);
    const dabAt = (/** @type {number[]} */ [column, row]) =>
      dab(pixels.filter((i) => Math.hypot(Math.floor(i / W) + 0.5 - row, (i % W) + 0.5 - column) <= width() / 2 + 0.2));
    GAHB.drag(canvas, (event) => dabAt(GAHB.placeOn(canvas, event, W)));
    canvas.addEventListener("pointerup", lifted);
    canvas.addEventListener("keydown", (event) => {
      const move = GAHB.ARROWS[event.key];
      if (!move && event.key !== " ") return;
      event.preventDefault();
      if (move) move.forEach((v, i) => (cursor[i] = Math.min(W - 1, Math.max(0, cursor[i] + v))));
      if (move && !event.shiftKey) return moved();
      dabAt(cursor.map((v) => v + 0.5));
      lifted();
    });
    return cursor;
  };

  /** Return a slider over a list of numbers, calling `onInput` with the one chosen. */
  GAHB.levels = ({ label, values, first, digits = 2, onInput }) =>
    GAHB.slider({
      label,
      min: 0,
      max: values.length - 1,
      step: 1,
      value: values.indexOf(first),
      show: (i) => values[i].toFixed(digits),
      onInput: (i) => onInput(values[i]),
    });

  GAHB.tools = (...items) => GAHB.element("div", { className: "gahb-live-tools" }, ...items);

  GAHB.dot = (a, b) => a.reduce((s, v, i) => s + v * b[i], 0);
  GAHB.addTo = (a, b, k) => b.forEach((v, i) => (a[i] += k * v));

  /** Return a tile for a signed picture: { box, canvas, tell(λ, note), show(values, W, λ, residual, note) }. */
  GAHB.atom = function (text, name = "") {
    const { element } = GAHB;
    const canvas = element("canvas", { className: "gahb-live-pixels", role: "img", "aria-label": text });
    const value = element("span", { className: "gahb-live-value", textContent: name }),
      bar = element("span", { className: "gahb-live-bar" });
    const tell = (lam, note = "") => {
      if (lam === undefined) return;
      value.textContent = `λ = ${lam.toFixed(2)}${note && `, ${note}`}`;
      bar.style.width = `${100 * Math.min(1, Math.max(0, lam))}%`;
    };
    const show = (values, W, lam, residual = 0, note = "") => {
      canvas.dataset.live = "yes";
      GAHB.paint(canvas, values, W, W, true);
      canvas.style.opacity = 1 - 0.7 * Math.min(1, residual / 0.3);
      tell(lam, note);
    };
    const box = element("div", { className: "gahb-live-atom" }, canvas, ...(name ? [] : [bar]), value);
    return { box, canvas, tell, show };
  };
  GAHB.atoms = (num) => Array.from({ length: num }, (_, k) => GAHB.atom(`eigenvector ${k + 1}`));

  /** Put panels, four a row, tiles, six a row, and more in the place of a figure's picture, from which both are cut;
   *  return the line below that says what was found. */
  GAHB.stage = function (box, panels, rows, tiles = []) {
    const { element } = GAHB,
      picture = box.querySelector(".gahb-live-picture"),
      below = 100 * Math.ceil(panels.length / 4);
    const status = element("p", { className: "gahb-live-status", "aria-live": "polite" });
    const stage = element(
      "div",
      { className: "gahb-live-stage" },
      element("div", { className: "gahb-live-panels" }, ...panels.map((p) => p.box)),
      ...rows,
      status,
    );
    picture.before(stage);
    picture.hidden = true;
    GAHB.cut(picture, [
      ...panels.map((p, i) => [p.canvas, 100 * (i % 4), 100 * Math.floor(i / 4), 96, 96]),
      ...tiles.map((t, i) => [t.canvas, 66 * (i % 6), below + 66 * Math.floor(i / 6), 64, 64]),
    ]);
    return status;
  };

  /** Return a function that runs `work` for the newest state: one turn at a time, and again if it was called meanwhile. */
  GAHB.latest = function (say, work) {
    let busy = false,
      stale = false;
    return async () => {
      stale = true;
      if (busy) return;
      busy = true;
      while (stale) {
        stale = false;
        try {
          await work();
        } catch (error) {
          if (!stale) say(`The figure keeps its picture: ${error.message}.`);
        }
      }
      busy = false;
    };
  };

  /** Return `find(args)`, which shows the eigenpairs of the newest point as they converge: `onStep(step, seconds)`. It
   *  starts from those of the last point, unless the network or the number has changed; `find.end()` when that point
   *  is no longer the figure's. */
  GAHB.eigenvectors = function (say, onStep) {
    let job = null,
      last = null,
      kind = "";
    const end = () => {
      if (job) job.stop();
      job = null;
    };
    const find = (args) => {
      end();
      const begun = performance.now(),
        now = `${args.net} ${args.num}`;
      if (now !== kind) last = null;
      kind = now;
      const draw = (step) => {
        if (job !== mine || !step.lam) return;
        last = step;
        onStep(step, (performance.now() - begun) / 1000);
      };
      const mine = (job = GAHB.call(
        "eigenpairs",
        { tol: 0.02, most: 600, ...args, start: last ? last.atoms : null },
        draw,
      ));
      return mine.then((step) => step.stopped || draw(step)).catch((error) => job === mine && say(`${error.message}.`));
    };
    return Object.assign(find, { end });
  };

  GAHB.howLong = (step, seconds) =>
    `${step.products} products with J and Jᵀ, ${seconds.toFixed(1)} s; the least exact of ${step.lam.length} is off by ${Math.max(...step.residuals).toFixed(3)}.`;
})();
