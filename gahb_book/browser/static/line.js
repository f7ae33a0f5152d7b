// Chapter 1: one number under noise. Everything in closed form: the posterior of x given y, its mean f*(y), and the
// score, (f*(y) − y) / σ².
"use strict";

GAHB.figures.line = function (box, data, { say }) {
  const { element, slider } = GAHB,
    picture = box.querySelector(".gahb-live-picture"),
    { weights, deviations } = data,
    { tools } = GAHB;
  const [LOW, HIGH] = data.range,
    grid = Array.from({ length: 241 }, (_, i) => LOW + ((HIGH - LOW) * i) / 240);
  const normal = (x, m, v) => Math.exp((-0.5 * (x - m) ** 2) / v) / Math.sqrt(2 * Math.PI * v);
  let y = data.y,
    sigma = data.sigma,
    { means } = data;

  const chart = GAHB.chart({
    text: "densities of x, of y, and of x given y; the observation y and the mean of x given y. Arrow keys move y.",
    x: [LOW, HIGH],
    y: [0, data.high],
    xLabel: "x, y",
    yLabel: "density",
    ticks: data.ticks,
    H: 220,
  });
  const move = slider({
    label: "y",
    min: 0,
    max: 240,
    step: 1,
    value: Math.round((240 * (y - LOW)) / (HIGH - LOW)),
    show: (i) => grid[i].toFixed(2),
    onInput: (i) => {
      y = grid[i];
      show();
    },
  });
  const level = GAHB.levels({
    label: "noise σ",
    values: data.sigmas,
    first: sigma,
    onInput: (v) => {
      sigma = v;
      show();
    },
  });
  const apart = !data.distances
    ? []
    : [
        GAHB.levels({
          label: "distance of the peaks",
          values: data.distances,
          first: means[1] - means[0],
          digits: 1,
          onInput: (v) => {
            means = [-v / 2, v / 2];
            show();
          },
        }),
      ];
  const status = element("p", { className: "gahb-live-status", "aria-live": "polite" });
  const stage = element("div", { className: "gahb-live-stage" }, chart.box, tools(move, level, ...apart), status);
  picture.before(stage);
  picture.hidden = true;
  chart.box.classList.add("gahb-live-wide");
  GAHB.drag(chart.box, (event) => {
    y = chart.place(event)[0];
    move.input.value = Math.round(((y - LOW) / (HIGH - LOW)) * 240);
    move.tell();
    show();
  });

  /** Return the posterior's weights, means and variances at y, and its mean. */
  function posterior() {
    const raw = weights.map((w, k) => w * normal(y, means[k], deviations[k] ** 2 + sigma ** 2));
    const total = raw.reduce((a, b) => a + b);
    const w = raw.map((r) => r / total);
    const v = deviations.map((s) => (s * s * sigma * sigma) / (s * s + sigma * sigma));
    const m = means.map((c, k) => (deviations[k] ** 2 * y + sigma ** 2 * c) / (deviations[k] ** 2 + sigma ** 2));
    return { w, m, v, mean: w.reduce((s, p, k) => s + p * m[k], 0) };
  }

  const mixture = (x, w, m, v) => w.reduce((s, p, k) => s + p * normal(x, m[k], v[k]), 0);

  function show() {
    say("");
    const { w, m, v, mean } = posterior(),
      line = (f) => grid.map((x) => [x, Math.min(data.high, f(x))]);
    const score = (mean - y) / sigma ** 2,
      foot = 0.05 * data.high,
      back = 0.02 * (HIGH - LOW) * Math.sign(y - mean);
    chart.draw([
      {
        points: line((x) =>
          mixture(
            x,
            weights,
            means,
            deviations.map((s) => s * s),
          ),
        ),
        colour: "#888888",
        dashed: true,
      },
      {
        points: line((x) =>
          mixture(
            x,
            weights,
            means,
            deviations.map((s) => s * s + sigma * sigma),
          ),
        ),
        colour: "#0072b2",
      },
      { points: line((x) => mixture(x, w, m, v)), colour: "#d55e00" },
      {
        points: [
          [y, foot],
          [mean, foot],
        ],
        colour: "#009e73",
      },
      {
        points: [
          [mean + back, 0.6 * foot],
          [mean, foot],
          [mean + back, 1.4 * foot],
        ],
        colour: "#009e73",
      },
      { points: [[y, foot]], colour: "#0072b2", dots: true },
    ]);
    status.textContent = `y = ${y.toFixed(2)}, f*(y) = ${mean.toFixed(3)}: the arrow is f*(y) − y = ${(mean - y).toFixed(3)} = σ² × score, the slope of log p_σ, ${score.toFixed(2)}.`;
  }
  show();
};
