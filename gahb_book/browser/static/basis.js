// Chapter 5: the spectrum of a picture at any σ; a factor that is chosen moves the estimate by ± its eigenvector,
// and, beside it, the exact denoiser of a small set has its word on the same y.
"use strict";

GAHB.figures.basis = function (box, data, { say, network, imageSet }) {
  const { element, button, slider, call, panel, group } = GAHB;
  const W = data.size,
    H = W,
    N = W * W,
    NUM = data.num;
  const examples = GAHB.images(data.examples, N),
    s = data.sigmas;
  const photo = data.photo && GAHB.images(data.photo, data.side ** 2)[0],
    corner = [...(data.corner || [])];
  const cut = () =>
    Float32Array.from(
      { length: N },
      (_, i) => photo[(corner[0] + Math.floor(i / W)) * data.side + corner[1] + (i % W)],
    );
  let x = photo ? cut() : examples[0],
    sigma = data.sigma,
    seed = 1,
    chosen = 0,
    item = data.networks[0];
  let y = null,
    estimate = null,
    step = null,
    turn = 0,
    amount = 0;
  let owner = "",
    pointed = null; // the network whose estimate is shown; the pixel whose filter is

  const panels = [
    panel("y = x + σz", "the noisy picture"),
    panel("f(y) ± a e", "the network's estimate, moved along the chosen eigenvector; point at a pixel for its filter", {
      tabIndex: 0,
      role: "application",
    }),
    panel("e", "the chosen eigenvector, or the filter of the pixel pointed at"),
    photo
      ? panel("x, the window", "the window of the photograph")
      : panel("exact for the set", "the exact denoiser of a small set, at the same y"),
  ];
  const [noisy, clean, atom, exact] = panels;
  const bars = Array.from({ length: NUM }, (_, k) =>
    element("button", { type: "button", "aria-label": `factor ${k + 1}`, onclick: () => choose(k) }),
  );
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
  const along = slider({
    label: "along e",
    min: -20,
    max: 20,
    step: 1,
    value: 0,
    show: (v) => (v / 10).toFixed(1),
    onInput: (v) => {
      amount = v / 10;
      if (estimate) showMoved();
      else refresh();
    },
  });
  const windows = !photo
    ? []
    : ["down", "across"].map((label, k) =>
        slider({
          label,
          min: 0,
          max: data.side - W,
          step: 1,
          value: corner[k],
          show: (v) => `${v} px`,
          onInput: (v) => {
            corner[k] = v;
            x = cut();
            refresh();
          },
        }),
      );
  const pictures = GAHB.choice(data.names, 0, (i) => {
    x = examples[i];
    refresh();
  });
  const nets = GAHB.choice(
    data.networks.map((n) => n.label),
    0,
    (i) => {
      item = data.networks[i];
      find.end();
      step = null;
      refresh();
    },
  );
  const status = GAHB.stage(box, panels, [
    GAHB.tools(level, along, ...windows),
    element(
      "div",
      { className: "gahb-live-factors", role: "group", "aria-label": "factors λ, largest first" },
      ...bars,
    ),
    GAHB.tools(
      group(
        "picture",
        ...(photo ? [] : pictures),
        button("other noise", () => {
          seed++;
          refresh();
        }),
      ),
      group("a network that learned", ...nets),
    ),
  ]);
  data.lam.forEach(showBar);
  GAHB.mark(bars, bars[0]);

  function showBar(lam, k) {
    bars[k].style.setProperty("--height", `${Math.min(100, Math.max(0, 66 * lam))}%`);
    bars[k].title = `λ = ${lam.toFixed(3)}`;
    bars[k].setAttribute("aria-label", `factor ${k + 1}: ${lam.toFixed(2)}`);
  }

  function choose(k) {
    [chosen, pointed] = [k, null];
    GAHB.mark(bars, bars[k]);
    if (step) showMoved();
    else refresh();
    sway();
  }

  function showMoved(a = amount) {
    if (!step || !estimate) return;
    const e = step.atoms[Math.min(chosen, step.atoms.length - 1)],
      most = GAHB.scaleOf(e);
    clean.show(
      estimate.map((v, i) => v + (0.5 * a * e[i]) / most),
      H,
      W,
    );
    if (pointed) return;
    atom.show(e, H, W, true);
    atom.title.textContent = `e, number ${chosen + 1}`;
    atom.value.textContent = `λ = ${step.lam[Math.min(chosen, step.lam.length - 1)].toFixed(2)}`;
  }

  let swaying = 0;
  function sway() {
    // once there and back, so that it is seen what the eigenvector changes
    const mine = ++swaying,
      begun = performance.now();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const frame = (now) => {
      const t = (now - begun) / 1600;
      if (mine !== swaying) return;
      showMoved(t < 1 ? amount + Math.sin(2 * Math.PI * t) : amount);
      if (t < 1) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  async function refresh() {
    const mine = ++turn;
    try {
      await network(item);
      if (mine !== turn) return;
      const now = GAHB.methods.addNoise(x, sigma, seed),
        answer = await call("denoise", { net: item.name, y: now, H, W });
      if (mine !== turn) return;
      [y, estimate, owner] = [now, answer.estimate, item.name];
      say("");
      noisy.show(y, H, W);
      clean.show(estimate, H, W);
      noisy.value.textContent = `${GAHB.methods.psnr(y, x).toFixed(1)} dB`;
      clean.value.textContent = `${GAHB.methods.psnr(estimate, x).toFixed(1)} dB`;
      find({ net: item.name, y, H, W, num: NUM });
      if (pointed) showFilter(pointed);
      if (photo) exact.show(x, H, W);
      if (!data.sets.length) return;
      await imageSet(data.sets[0]);
      const other = await call("denoise", { set: data.sets[0].name, y: now, sigma, H, W });
      if (mine !== turn) return;
      exact.show(other.estimate, H, W);
      exact.value.textContent = `${GAHB.methods.psnr(other.estimate, x).toFixed(1)} dB`;
    } catch (error) {
      if (mine === turn) say(`The figure keeps its picture: ${error.message}.`);
    }
  }

  const find = GAHB.eigenvectors(say, (found, seconds) => {
    step = found;
    found.lam.forEach(showBar);
    showMoved();
    status.textContent = GAHB.howLong(found, seconds);
  });

  async function showFilter(at) {
    pointed = at;
    if (!y) return;
    const asked = y,
      filter = await call("filter", { net: owner, y, H, W, pixel: at[1] * W + at[0] }).catch((error) =>
        say(`${error.message}.`),
      );
    if (!filter || pointed !== at || asked !== y) return; // another pixel, another picture, or none
    atom.show(filter, H, W, true);
    atom.title.textContent = "filter of this pixel";
    atom.value.textContent = `⟨filter, y⟩ = ${GAHB.methods.dot(filter, y).toFixed(2)}`;
  }
  GAHB.pointAt(clean.canvas, W, showFilter, () => {
    pointed = null;
    showMoved();
  });
};
