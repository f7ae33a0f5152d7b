// Chapter 3: two networks, A and B, trained on disjoint halves, ascend from the same start, a draw of the Gaussian fitted
// to the images of A plus noise of deviation 1: at which N do they draw the same image? With the running histogram of
// correlations, and, for N ≤ 100, the closest training image.
"use strict";

GAHB.figures.pair = function (box, data, { say, network, imageSet }) {
  const { call, panel, group } = GAHB;
  const W = data.size,
    H = W,
    BINS = 20,
    startOf = GAHB.starts(data.start);
  const seen = data.nums.map(() => data.betas.map(() => []));
  let level = data.nums.length - 1,
    heat = 0,
    seed = 0;

  const panels = [
    panel("A", "the image drawn by the network of A"),
    panel("B", "the image drawn by the network of B from the same noise"),
    panel("closest to A", "the training image of A that is most like A's"),
    panel("closest to B", "the training image of B that is most like B's"),
  ];
  const chart = GAHB.chart({
    text: "histogram of the correlations of the pairs drawn so far",
    x: [-0.5, 1],
    y: [0, 10],
    xLabel: "correlation of A's and B's image",
    yLabel: "pairs",
    ticks: [0, 5, 10, 20, 50],
  });
  const nums = GAHB.choice(
    data.nums.map((n) => n.toLocaleString("en")),
    level,
    (i) => {
      level = i;
      showHistogram();
      pairs.begin();
    },
  );
  const betas = GAHB.choice(
    data.betas.map((beta) => (beta < 1 ? `β = ${beta}` : "none (β = 1)")),
    heat,
    (i) => {
      heat = i;
      showHistogram();
      pairs.begin();
    },
  );
  const pairs = GAHB.runs("new noise", say, draw);
  const status = GAHB.stage(box, panels, [
    GAHB.tools(group("training images N", ...nums), group("noise put back", ...betas), pairs.button),
    chart.box,
  ]);
  showHistogram();

  function showHistogram() {
    const counts = new Array(BINS).fill(0),
      low = -0.5,
      width = 1.5 / BINS;
    for (const c of seen[level][heat]) counts[Math.min(BINS - 1, Math.max(0, Math.floor((c - low) / width)))]++;
    const outline = [[low, 0]];
    counts.forEach((n, i) => outline.push([low + i * width, n], [low + (i + 1) * width, n]));
    chart.draw([{ points: [...outline, [1, 0]], colour: "#0072b2" }], [low, 1], Math.max(10, ...counts));
  }

  async function draw(run) {
    const at = level,
      beta = data.betas[heat],
      drawn = seen[at][heat],
      names = ["A", "B"].map((split) =>
        data.networks.find((n) => n.name === `${data.dataset}/N=${data.nums[at]}/${split}`),
      );
    for (const item of names) await run.ready(network(item));
    say("");
    seed++;
    const start = startOf(2 * seed);
    const jobs = names.map((item, k) =>
      run.call(
        "ascend",
        { net: item.name, y: start, H, W, seed: 2 * seed + 1, beta, sigmaEnd: 0.01, pace: beta < 1 ? 10 : 40 },
        (step) => panels[k].show(step.estimate, H, W),
      ),
    );
    const ends = await run.owned(Promise.all(jobs));
    ends.forEach((end, k) => panels[k].show(end.estimate, H, W));
    if (ends.some((end) => end.stopped)) return;
    const corr = GAHB.methods.correlation(ends[0].estimate, ends[1].estimate);
    drawn.push(corr);
    showHistogram();
    const sorted = [...drawn].sort((a, b) => a - b);
    status.textContent = `N = ${data.nums[at].toLocaleString("en")}, β = ${beta}: these two correlate ${corr.toFixed(2)}; the median of ${sorted.length} is ${sorted[sorted.length >> 1].toFixed(2)}.`;
    await showClosest(run, ends, data.nums[at]);
  }

  async function showClosest(run, ends, num) {
    for (const [k, set] of data.sets.entries()) {
      const { canvas, value } = panels[2 + k];
      canvas.parentElement.style.visibility = num > data.kept ? "hidden" : "visible";
      if (num > data.kept) continue;
      const images = await run.owned(imageSet(set));
      const found = await run.owned(call("closest", { set: set.name, y: ends[k].estimate, count: num }));
      panels[2 + k].show(images[found.index], H, W);
      value.textContent = `corr. ${found.correlation.toFixed(2)}`;
    }
  }
};
