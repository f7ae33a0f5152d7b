// Chapters 6 and 7: an image that is made of a few things which the reader drags, the network's estimate of it, and
// the eigenvectors of its Jacobian, which follow. `GAHB.makers` draw the images: a disk, and two regions at a contour.
"use strict";

GAHB.figures.harmonics = function (box, data, { say, network }) {
  const { element, button, call, panel, tools, levels } = GAHB,
    W = data.size,
    N = W * W,
    NUM = data.num,
    SCALE = 8;
  let sigma = data.sigma,
    seed = 1,
    x = null,
    y = null;

  const panels = [
    panel("x, drag it", data.text, { tabIndex: 0, role: "application" }),
    panel("y = x + σz", "the noisy image"),
    panel("f(y)", "the network's estimate"),
    panel("y − f(y)", "the residual"),
  ];
  const [drawn, noisy, clean, rest] = panels;
  const maker = GAHB.makers[data.maker](data, () => refresh()),
    tiles = GAHB.atoms(NUM);
  const noise = levels({
    label: "noise σ",
    values: data.sigmas,
    first: sigma,
    onInput: (v) => {
      sigma = v;
      refresh();
    },
  });
  const status = GAHB.stage(
    box,
    panels,
    [
      tools(
        noise,
        ...maker.controls,
        button("other noise", () => {
          seed++;
          refresh();
        }),
      ),
      ...(maker.rows || []),
      element("div", { className: "gahb-live-atoms" }, ...tiles.map((t) => t.box)),
    ],
    [...(maker.tiles || []), ...tiles],
  );
  data.lam.forEach((l, k) => tiles[k].tell(l));

  GAHB.drag(drawn.canvas, (event, begun) => {
    maker.drag(GAHB.placeOn(drawn.canvas, event, W), begun);
    refresh();
  });
  drawn.canvas.addEventListener("keydown", (event) => {
    if (!maker.key(event)) return;
    event.preventDefault();
    refresh();
  });

  const find = GAHB.eigenvectors(say, (step, seconds) => {
    step.atoms.forEach((e, k) => tiles[k].show(e, W, step.lam[k], step.residuals[k], maker.note ? maker.note(e) : ""));
    status.textContent = GAHB.howLong(step, seconds);
  });

  function showDrawn() {
    // enlarged, so that what is held can be drawn finely on it
    const small = element("canvas"),
      pen = drawn.canvas.getContext("2d");
    GAHB.paint(small, x, W, W);
    Object.assign(drawn.canvas, { width: SCALE * W, height: SCALE * W });
    drawn.canvas.dataset.live = "yes";
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, SCALE * W, SCALE * W);
    pen.setTransform(SCALE, 0, 0, SCALE, 0, 0);
    maker.mark(pen, drawn.canvas.matches(":focus-visible"));
  }

  const refresh = GAHB.latest(say, async () => {
    await GAHB.library();
    x = maker.make();
    showDrawn();
    const item = data.networks[maker.network ? maker.network() : 0];
    await network(item);
    say("");
    y = GAHB.methods.addNoise(x, sigma, seed);
    const { estimate } = await call("denoise", { net: item.name, y, H: W, W });
    noisy.show(y, W, W);
    clean.show(estimate, W, W);
    rest.show(
      y.map((v, i) => v - estimate[i]),
      W,
      W,
      true,
    );
    noisy.value.textContent = `${GAHB.methods.psnr(y, x).toFixed(1)} dB`;
    clean.value.textContent = `${GAHB.methods.psnr(estimate, x).toFixed(1)} dB`;
    find({ net: item.name, y, H: W, W, num: NUM });
  });
};

GAHB.makers = {
  /** A disk: row, column, radius, foreground and background, and its five tangent vectors, by differences. */
  disk(data, changed) {
    const W = data.size,
      p = [...data.parameters],
      NAMES = ["down", "across", "radius", "foreground", "background"];
    const within = (v, low, high) => Math.min(high, Math.max(low, v)),
      most = W / 2 - 1.5;
    const draw = (/** @type {number[]} */ [row, column, radius, front, back]) =>
      Float64Array.from({ length: W * W }, (_, i) => {
        const far = Math.hypot(Math.floor(i / W) + 0.5 - row, (i % W) + 0.5 - column),
          cover = within(radius - far + 0.5, 0, 1);
        return cover * front + (1 - cover) * back;
      });
    const step = 1e-4,
      along = (q, k, t) => q.map((v, i) => (i === k ? v + t : v));
    let plane = [],
      pulls = false;
    const tiles = NAMES.map((name) => GAHB.atom(`tangent vector: ${name}`, name));
    const radius = GAHB.slider({
      label: "radius",
      min: 3,
      max: most,
      step: 0.5,
      value: p[2],
      show: (v) => v.toFixed(1),
      onInput: (v) => {
        p[2] = v;
        changed();
      },
    });
    const contrast = GAHB.slider({
      label: "contrast",
      min: -10,
      max: 10,
      step: 1,
      value: Math.round(10 * (p[3] - p[4])),
      show: (v) => (v / 10).toFixed(1),
      onInput: (v) => {
        p[3] = 0.5 + v / 20;
        p[4] = 0.5 - v / 20;
        changed();
      },
    });
    const resize = (r) => {
      p[2] = within(r, 3, most);
      radius.input.value = p[2];
      radius.tell();
    };
    const maker = {
      controls: [radius, contrast],
      tangents: [],
      tiles: [...tiles, { canvas: GAHB.element("canvas") }], // six a row
      rows: [GAHB.element("div", { className: "gahb-live-atoms" }, ...tiles.map((t) => t.box))],
      make() {
        const tangents = p.map((_, k) => {
          const [a, b] = [draw(along(p, k, step)), draw(along(p, k, -step))];
          return Float32Array.from(a, (v, i) => (v - b[i]) / (2 * step));
        });
        tangents.forEach((t, k) => tiles[k].show(t, W));
        maker.tangents = tangents;
        plane = [];
        for (let t of tangents) {
          // an orthonormal basis of the tangent plane
          for (const q of plane) GAHB.addTo((t = t.slice()), q, -GAHB.dot(t, q));
          const length = Math.sqrt(GAHB.dot(t, t));
          if (length > 1e-3) plane.push(t.map((v) => v / length));
        }
        return Float32Array.from(draw(p));
      },
      /** The part of an eigenvector within the tangent plane, of its squared length. */
      note: (e) => `${Math.round(100 * plane.reduce((s, q) => s + GAHB.dot(q, e) ** 2, 0))}% tangent`,
      drag([column, row], begun) {
        const far = Math.hypot(row - p[0], column - p[1]);
        if (begun) pulls = far > 0.65 * p[2];
        if (pulls) resize(far);
        else [p[0], p[1]] = [within(row, 0, W), within(column, 0, W)];
      },
      key({ key }) {
        const move = { ArrowLeft: [0, -0.5], ArrowRight: [0, 0.5], ArrowUp: [-0.5, 0], ArrowDown: [0.5, 0] }[key],
          more = { "+": 0.5, "-": -0.5 }[key];
        if (move) [p[0], p[1]] = [within(p[0] + move[0], 0, W), within(p[1] + move[1], 0, W)];
        if (more) resize(p[2] + more);
        return Boolean(move || more);
      },
      mark(pen) {
        pen.strokeStyle = "#e69f00";
        pen.lineWidth = 0.25;
        pen.beginPath();
        pen.arc(p[1], p[0], p[2], 0, 2 * Math.PI);
        pen.moveTo(p[1] + 0.8, p[0]);
        pen.arc(p[1], p[0], 0.8, 0, 2 * Math.PI);
        pen.stroke();
      },
    };
    return maker;
  },

  /** Two smooth regions at a contour, both of regularity α, drawn as images.make_c_alpha draws them: noise whose
   *  frequencies are damped by |ω|^−α. What a reader pulls is added to the contour. */
  contour(data, changed) {
    const W = data.size,
      pulls = new Float64Array(W),
      grips = Array.from({ length: 8 }, (_, k) => (W / 8) * (k + 0.5));
    let alpha = data.alpha,
      seed = data.seed,
      held = 3,
      line = null,
      parts = null,
      made = "";
    const level = GAHB.levels({
      label: "regularity α",
      values: data.alphas,
      first: alpha,
      digits: 0,
      onInput: (v) => {
        alpha = v;
        changed();
      },
    });
    const again = GAHB.button("another contour", () => {
      seed++;
      pulls.fill(0);
      changed();
    });
    const straighten = GAHB.button("let go", () => {
      pulls.fill(0);
      changed();
    });

    /** Draw contour and regions anew: the same numbers for every α. */
    function draw() {
      const random = GAHB.methods.randomUniform(seed),
        { analyze, synthesize } = GAHB.methods.fixedBases(W).Fourier;
      const cycles = (i) => Math.min(i, W - i),
        damp = (w) => Math.max(1, w) ** -alpha;
      const [low, high, coin] = [random(), random(), random()],
        u = Float64Array.from({ length: W }, () => 2 * random() - 1);
      const kernel = Float64Array.from({ length: W }, (_, d) =>
        u.reduce((s, _, w) => s + (damp(cycles(w)) * Math.cos((2 * Math.PI * w * d) / W)) / W, 0),
      );
      line = u.map((_, i) => W * (0.5 + Math.sqrt(W / 64) * u.reduce((s, v, j) => s + v * kernel[(i - j + W) % W], 0)));
      parts = [
        [low, 1],
        [0, high],
      ].map(([from, to]) => {
        const rough = Float32Array.from({ length: W * W }, () => 2 * random() - 1);
        const smooth = synthesize(
          analyze(rough).map((v, i) => v * damp(Math.hypot(cycles(Math.floor(i / W)), cycles(i % W)))),
        );
        const least = Math.min(...smooth),
          most = Math.max(...smooth);
        return smooth.map((v) => from + ((to - from) * (v - least)) / (most - least));
      });
      if (coin > 0.5) parts.reverse();
    }

    const rowAt = (column) => line[Math.floor(column)] + pulls[Math.floor(column)];
    function pull(row) {
      const gap = Math.min(W, Math.max(0, row)) - rowAt(grips[held]),
        at = Math.floor(grips[held]);
      for (let c = 0; c < W; c++) pulls[c] += gap * Math.exp(-((c - at) ** 2) / (0.02 * W * W));
    }
    return {
      controls: [level, again, straighten],
      network: () => data.order[data.alphas.indexOf(alpha)],
      make() {
        if (made !== (made = `${alpha} ${seed}`)) draw();
        return Float32Array.from({ length: W * W }, (_, i) => {
          const below = Math.min(1, Math.max(0, Math.floor(i / W) + 0.5 - line[i % W] - pulls[i % W]));
          return below * parts[0][i] + (1 - below) * parts[1][i];
        });
      },
      drag([column, row], begun) {
        if (!line) return;
        if (begun) held = Math.min(7, Math.max(0, Math.floor((8 * column) / W)));
        pull(row);
      },
      key({ key }) {
        const side = { ArrowLeft: -1, ArrowRight: 1 }[key],
          up = { ArrowUp: -0.5, ArrowDown: 0.5 }[key];
        if (side) held = (held + side + 8) % 8;
        if (up && line) pull(rowAt(grips[held]) + up);
        return Boolean(side || up);
      },
      mark(pen, focused) {
        pen.fillStyle = pen.strokeStyle = "#e69f00";
        pen.lineWidth = 0.3;
        grips.forEach((column, k) => {
          pen.beginPath();
          pen.arc(column, rowAt(column), focused && k === held ? 1 : 0.6, 0, 2 * Math.PI);
          pen.fill();
        });
      },
    };
  },
};
