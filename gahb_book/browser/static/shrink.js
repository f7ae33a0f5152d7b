// Chapter 4: shrink it yourself. The coefficients of a noisy picture by size, in pixels, waves, wavelets, or the first
// eigenvectors of the network at this very picture; those below a threshold are dropped, and the rest is the estimate.
"use strict";

GAHB.figures.shrink = function (box, data, { say, network }) {
  const { element, button, call, panel, group, tools } = GAHB,
    W = data.size,
    H = W,
    N = W * W,
    item = data.networks[0];
  const SHOWN = 256,
    OWN = "the network's own",
    names = ["pixels", "Fourier", "wavelets", OWN];
  const examples = GAHB.images(data.examples, N);
  let x = examples[0],
    sigma = data.sigma,
    seed = 1,
    a = data.a,
    name = "wavelets",
    soft = false;
  let y = null,
    bases = null,
    network_psnr = 0,
    atoms = null,
    at = "";

  const panels = [
    panel("y = x + σz", "the noisy picture"),
    panel("estimate", "what the coefficients that were kept make"),
    panel("error", "the estimate minus the clean picture"),
    panel("dropped", "what was dropped: the noisy picture minus the estimate"),
  ];
  const [noisy, kept, error, away] = panels;
  const chart = GAHB.chart({
    text: "sizes of the largest coefficients of the noisy picture in units of σ, those of the clean picture, and the threshold; drag to move it",
    x: [1, SHOWN],
    y: [0.1, 100],
    log: true,
    xLabel: "coefficients, largest first",
    yLabel: "size / σ",
    ticks: [0.1, 1, 10, 100],
    H: 220,
  });
  const levels = Array.from({ length: 61 }, (_, i) => i / 10);
  const cut = GAHB.levels({
    label: "threshold, in σ",
    values: levels,
    first: a,
    digits: 1,
    onInput: (v) => {
      a = v;
      refresh();
    },
  });
  GAHB.drag(chart.box, (event) => {
    a = Math.min(6, Math.round(10 * chart.place(event)[1]) / 10);
    cut.input.value = 10 * a;
    cut.tell();
    refresh();
  });
  const noise = GAHB.levels({
    label: "noise σ",
    values: data.sigmas,
    first: sigma,
    onInput: (v) => {
      sigma = v;
      refresh();
    },
  });
  const status = GAHB.stage(box, panels, [
    chart.box,
    tools(cut, noise),
    tools(
      group(
        "basis",
        ...GAHB.choice(names, 2, (i) => {
          name = names[i];
          refresh();
        }),
      ),
      group(
        "rule",
        ...GAHB.choice(["keep or drop", "shrink by the threshold"], 0, (i) => {
          soft = i === 1;
          refresh();
        }),
      ),
      group(
        "picture",
        ...GAHB.choice(data.names, 0, (i) => {
          x = examples[i];
          refresh();
        }),
        button("other noise", () => {
          seed++;
          refresh();
        }),
      ),
    ),
  ]);
  chart.draw([
    {
      points: [
        [1, a],
        [SHOWN, a],
      ],
      colour: "#888888",
      dashed: true,
    },
  ]);

  const find = GAHB.eigenvectors(say, (step, seconds) => {
    atoms = step.atoms;
    if (name === OWN) show(GAHB.howLong(step, seconds));
  });

  /** Return the basis in use. The network's is of its first eigenvectors alone: what is beyond them is dropped. */
  function basis() {
    if (name !== OWN) return bases[name];
    const synthesize = (c) => atoms.reduce((sum, e, k) => sum.map((v, i) => v + c[k] * e[i]), new Float32Array(N));
    return { analyze: (v) => Float32Array.from(atoms, (e) => GAHB.methods.dot(e, v)), synthesize };
  }

  const refresh = GAHB.latest(say, async () => {
    await network(item);
    const [image, level] = [x, sigma];
    bases = bases || GAHB.methods.fixedBases(W);
    const now = `${data.names[examples.indexOf(image)]} ${level} ${seed}`;
    if (now !== at) {
      find.end(); // its eigenvectors are those of another picture
      [at, atoms] = ["", null];
      y = GAHB.methods.addNoise(image, level, seed);
      network_psnr = GAHB.methods.psnr((await call("denoise", { net: item.name, y, H, W })).estimate, image);
      at = now;
    }
    if (image !== x || level !== sigma) return; // and once more, for what is chosen now
    say("");
    if (name === OWN && !atoms) {
      status.textContent = "Eigenvectors of the Jacobian at this picture …";
      find({ net: item.name, y, H, W, num: data.num, tol: 0.1 });
    } else show();
  });

  function show(more = "") {
    const { analyze, synthesize } = basis(),
      { psnr } = GAHB.methods;
    const c = analyze(y),
      clean = analyze(x),
      t = a * sigma,
      beyond = GAHB.methods.dot(x, x) - GAHB.methods.dot(clean, clean);
    const estimate = synthesize(c.map((v) => (Math.abs(v) <= t ? 0 : soft ? v - Math.sign(v) * t : v)));
    noisy.show(y, H, W);
    kept.show(estimate, H, W);
    error.show(
      estimate.map((v, i) => v - x[i]),
      H,
      W,
      true,
    );
    away.show(
      y.map((v, i) => v - estimate[i]),
      H,
      W,
      true,
    );
    noisy.value.textContent = `${psnr(y, x).toFixed(1)} dB`;
    kept.value.textContent = `${psnr(estimate, x).toFixed(1)} dB`;
    const order = Array.from(c.keys()).sort((i, j) => Math.abs(c[j]) - Math.abs(c[i]));
    const line = (values) => order.slice(0, SHOWN).map((i, k) => [k + 1, Math.abs(values[i]) / sigma]);
    chart.draw([
      { points: line(clean), colour: "#d55e00" },
      { points: line(c), colour: "#0072b2" },
      {
        points: [
          [1, Math.max(0.1, a)],
          [SHOWN, Math.max(0.1, a)],
        ],
        colour: "#888888",
        dashed: true,
      },
    ]);
    // the best number to keep, told x: each that is kept costs its noise, each that is dropped itself
    let lost = clean.reduce((s, v) => s + v * v, beyond),
      least = lost;
    for (const i of order) least = Math.min(least, (lost += (c[i] - clean[i]) ** 2 - clean[i] ** 2));
    const count = c.filter((v) => Math.abs(v) > t).length;
    status.textContent = `${count} of ${c.length} kept: ${psnr(estimate, x).toFixed(1)} dB; with the best number of the largest, ${(-10 * Math.log10(least / N)).toFixed(1)} dB. The network itself: ${network_psnr.toFixed(1)} dB. ${more}`;
  }
};
