// Chapter 2: one ascent, with h, β, σ_end, ramp and seed of the reader's choice: the trajectory, and σ̂ against its
// law; beside the network, from the same start, the exact denoiser of a hundred garments. A start is a draw of the
// Gaussian fitted to the training images, plus noise of deviation 1.
"use strict";

GAHB.figures.climb = function (box, data, { say, network, imageSet }) {
  const { button, call, panel, group } = GAHB;
  const W = data.size,
    H = W,
    item = data.networks[0],
    startOf = GAHB.starts(data.start);
  const way = { h: data.h, beta: data.beta, sigmaEnd: data.sigmaEnd, ramp: true };
  let seed = 1;

  const panels = [
    panel("y, the network's", "where the network's ascent stands"),
    panel("f(y)", "the network's estimate there"),
    panel("y, the memorizer's", "where the ascent of the exact denoiser of a hundred garments stands"),
    panel("its estimate", "the memorizer's estimate there"),
  ];
  const chart = GAHB.chart({
    text: "the noise level of both ascents by step, on a logarithmic scale, and the law that it should follow",
    x: [0, 100],
    y: [0.01, 1],
    log: true,
    xLabel: "step",
    yLabel: "σ̂",
    ticks: [0.01, 0.1, 1],
  });
  const choose = (key, label, values, digits) =>
    GAHB.levels({
      label,
      values,
      first: way[key],
      digits,
      onInput: (v) => {
        way[key] = v;
        showLaw();
      },
    });
  const ramp = GAHB.choice(["h grows", "h fixed"], 0, (i) => {
    way.ramp = i === 0;
    showLaw();
  });
  const ascent = GAHB.runs("ascend", say, climb);
  const status = GAHB.stage(box, panels, [
    GAHB.tools(
      choose("h", "step h", data.hs, 3),
      choose("beta", "β", data.betas, 2),
      choose("sigmaEnd", "σ_end", data.ends, 3),
      group("step", ...ramp),
      ascent.button,
      button("other seed", () => {
        seed++;
        ascent.begin();
      }),
    ),
    chart.box,
  ]);
  drawLines([[], []]);

  function law() {
    // written out: the methods wait for the first use
    const levels = [1];
    while (levels[levels.length - 1] >= way.sigmaEnd && levels.length < 5000) {
      const t = levels.length,
        h = way.ramp ? (way.h * t) / (1 + way.h * (t - 1)) : way.h;
      levels.push(levels[levels.length - 1] * (1 - way.beta * h));
    }
    return levels;
  }

  /** @param {any[]} lines */
  function drawLines([ours, others]) {
    const levels = law(),
      thin = Math.max(1, Math.floor(levels.length / 200));
    const points = levels.map((v, i) => [i, v]).filter((_, i) => i % thin === 0 || i === levels.length - 1);
    chart.draw(
      [
        { points, colour: "#888888", dashed: true },
        { points: ours, colour: "#0072b2" },
        { points: others, colour: "#d55e00" },
      ],
      [0, Math.max(levels.length, ours.length, others.length) - 1],
    );
  }

  function showLaw() {
    // of the way that was chosen: an ascent by another ends
    ascent.end();
    drawLines([[], []]);
    status.textContent = `The law takes ${law().length - 1} steps.`;
  }

  async function climb(run) {
    await run.ready(network(item));
    await run.ready(imageSet(data.sets[0]));
    say("");
    const lines = [[], []],
      start = startOf(2 * seed);
    const show = (k) => (step) => {
      if (!step.y) return;
      panels[2 * k].show(step.y, H, W);
      panels[2 * k + 1].show(step.estimate, H, W);
      panels[2 * k].value.textContent = `step ${step.iteration}, σ̂ = ${step.sigma.toFixed(2)}`;
      lines[k].push([step.iteration, step.sigma]);
      drawLines(lines);
    };
    const common = { ...way, y: start, H, W, seed: 2 * seed + 1, pace: law().length > 400 ? 0 : 20 };
    const jobs = [
      run.call("ascend", { ...common, net: item.name }, show(0)),
      run.call("ascend", { ...common, set: data.sets[0].name, sigma0: 1 }, show(1)),
    ];
    const ends = await run.owned(Promise.all(jobs));
    ends.forEach((end, k) => show(k)(end));
    const near = await run.owned(
      Promise.all(ends.map((end) => call("closest", { set: data.sets[0].name, y: end.estimate, count: data.count }))),
    );
    panels[1].value.textContent = `corr. ${near[0].correlation.toFixed(2)}`;
    panels[3].value.textContent = `corr. ${near[1].correlation.toFixed(2)}`;
    status.textContent = `${ends[0].iteration} and ${ends[1].iteration} steps; the law takes ${law().length - 1}. The closest of the hundred garments correlates ${near[0].correlation.toFixed(2)} with the network's image, ${near[1].correlation.toFixed(2)} with the memorizer's.`;
  }
};
