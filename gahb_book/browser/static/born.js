// How a basis is born: the reader's own drawing under networks that learned from 1, 10, 100 … images, a row each: the
// estimate, and the eigenvectors with the largest factors. A and B share no training image: which rows do they share?
"use strict";

GAHB.figures.born = function (box, data, { say, network }) {
  const { element, button, call, panel, group } = GAHB;
  const W = data.size, N = W * W, s = data.sigmas, examples = GAHB.images(data.examples, N);
  let x = Float32Array.from(examples[0]), sigma = data.sigma, seed = 1, ink = 1, split = 0, turn = 0, job = null;
  const last = new Map(); // network → its eigenvectors at the last picture, from which the search goes on

  const drawing = panel("your picture", "your picture: draw with a finger or the mouse; the arrow keys move, space draws", { tabIndex: 0, role: "application" });
  drawing.canvas.classList.add("gahb-live-draw");
  const noisy = panel("y = x + σz", "the noisy picture");
  const rows = data.nums.map((num) => {
    const label = num.toLocaleString("en"), estimate = GAHB.atom(`the estimate of the network that learned from ${label} images`, label);
    const atoms = Array.from({ length: data.num }, (_, k) => GAHB.atom(`its eigenvector ${k + 1}`));
    return { label, estimate, atoms, box: element("div", { className: "gahb-live-row", role: "group", "aria-label": `N = ${label}` }, estimate.box, ...atoms.map((a) => a.box)) };
  });
  const level = GAHB.levels({
    label: "noise σ", values: s, first: sigma,
    onInput: (v) => {
      sigma = v;
      refresh();
    },
  });
  const pens = GAHB.choice(["draw", "wipe"], 0, (i) => (ink = 1 - i));
  const splits = GAHB.choice(["A", "B"], 0, (i) => {
    split = i;
    refresh();
  });
  const thumbs = examples.map((image, i) => {
    const canvas = element("canvas", { className: "gahb-live-pixels" });
    GAHB.paint(canvas, image, W, W);
    return element("button", { type: "button", className: "gahb-live-thumb", "aria-label": data.names[i], onclick: () => take(image) }, canvas);
  });
  const status = GAHB.stage(box, [drawing, noisy], [
    GAHB.tools(level, group("networks trained on half", ...splits)),
    element("p", { className: "gahb-live-key", textContent: "A row a network: N, the number of its training images, with its estimate; then eigenvectors and their factors λ." }),
    ...rows.map((row) => row.box),
    GAHB.tools(
      group("start from", ...thumbs, button("nothing", () => take(new Float32Array(N)))), group("brush", ...pens),
      button("other noise", () => { seed++; refresh(); })),
  ], rows.flatMap((row) => [row.estimate, ...row.atoms]));
  rows.forEach((row, i) => row.atoms.forEach((atom, k) => atom.tell(data.lam[i][k])));

  const cursor = GAHB.brush(drawing.canvas, W, { width: () => 2, dab, moved: showDrawing });
  drawing.canvas.addEventListener("blur", showDrawing);

  function showDrawing() {
    drawing.show(x, W, W);
    if (document.activeElement !== drawing.canvas || !drawing.canvas.matches(":focus-visible")) return;
    const pen = drawing.canvas.getContext("2d");
    pen.strokeStyle = "#e69f00";
    pen.strokeRect(cursor[0] - 1, cursor[1] - 1, 3, 3);
  }

  function dab(pixels) {
    for (const i of pixels) x[i] = ink;
    refresh();
  }

  function take(image) {
    x = Float32Array.from(image);
    refresh();
  }

  /** Ask every network in turn, unless the picture changes meanwhile. */
  async function refresh() {
    const mine = ++turn, empty = !x.some((v) => v > 0);
    if (job) job.stop();
    job = null;
    showDrawing();
    say(empty ? "Nothing yet: draw with a finger, the mouse, or the keys." : "");
    if (empty) status.textContent = "";
    try {
      await GAHB.library();
      if (mine !== turn || empty) return;
      const y = GAHB.methods.addNoise(x, sigma, seed), times = [];
      noisy.show(y, W, W);
      noisy.value.textContent = `${GAHB.methods.psnr(y, x).toFixed(1)} dB`;
      for (const [i, row] of rows.entries()) {
        const item = data.networks.find((n) => n.name === data.of[split][i]);
        await network(item);
        if (mine !== turn) return;
        times.push(await ask(item.name, row, y, mine));
        if (mine !== turn) return;
      }
      status.textContent = `The ${rows.length} networks of ${"AB"[split]} took ${Math.max(...times).toFixed(1)} s each at most; eigenvectors are off by 0.05 or less, or drawn paler.`;
    } catch (error) {
      if (mine === turn) say(`The figure keeps its picture: ${error.message}.`);
    }
  }

  /** Show the estimate, the eigenvectors and the trace of one network; return how many seconds it took. */
  async function ask(net, row, y, mine) {
    const begun = performance.now(), at = { net, y, H: W, W };
    const { estimate } = await call("denoise", at);
    if (mine !== turn) return 0;
    row.estimate.show(estimate, W);
    GAHB.paint(row.estimate.canvas, estimate, W, W);
    const show = (step) => {
      if (mine !== turn || !step || !step.lam) return;
      last.set(net, step.atoms);
      row.atoms.forEach((atom, k) => k < step.lam.length && atom.show(step.atoms[k], W, step.lam[k], step.residuals[k]));
    };
    job = call("eigenpairs", { ...at, num: data.num, tol: 0.05, most: data.most, start: last.get(net) || null }, show);
    const step = await job;
    if (step.stopped || mine !== turn) return 0;
    show(step);
    job = call("trace", { ...at, num: 16 });
    const trace = await job;
    if (mine === turn && !trace.stopped) row.estimate.box.lastChild.textContent = `${row.label}\ntr J ≈ ${trace.value.toFixed(0)}`;
    return (performance.now() - begun) / 1000;
  }
};
