// Between chapters 1 and 2: the ascent in the plane. Two densities, each with its exact denoiser: eight points, which
// are memorized, and the ring that they lie on, a continuous model.
"use strict";

GAHB.figures.plane = function (box, data, { say }) {
  const { element, button, slider, group } = GAHB,
    picture = box.querySelector(".gahb-live-picture"),
    R = data.radius;
  const onRing = (n) =>
    Array.from({ length: n }, (_, i) =>
      Float32Array.of(R * Math.cos((2 * Math.PI * i) / n), R * Math.sin((2 * Math.PI * i) / n)),
    );
  const models = [onRing(8), onRing(512)]; // the ring: 512 points, nearer to each other than any σ shown
  const way = { beta: data.beta, h: data.h, sigmaEnd: data.sigmaEnd };
  let start = data.start,
    seed = 1,
    turn = 0;

  const charts = ["eight points", "the ring"].map((name) =>
    GAHB.chart({
      text: `the plane, with ${name}, and the way of a point that ascends; click or touch to drop one`,
      x: [-2, 2],
      y: [-2, 2],
      xLabel: name,
      yLabel: "",
      ticks: [-2, 0, 2],
      H: 360,
    }),
  );
  const choose = (key, label, values, digits) =>
    slider({
      label,
      min: 0,
      max: values.length - 1,
      step: 1,
      value: values.indexOf(way[key]),
      show: (i) => values[i].toFixed(digits),
      onInput: (i) => {
        way[key] = values[i];
        climb();
      },
    });
  const step = (i) =>
    slider({
      label: `start, ${"xy"[i]}`,
      min: -20,
      max: 20,
      step: 1,
      value: 10 * start[i],
      show: (v) => (v / 10).toFixed(1),
      onInput: (v) => {
        start[i] = v / 10;
        climb();
      },
    });
  const places = [step(0), step(1)],
    status = element("p", { className: "gahb-live-status", "aria-live": "polite" });
  const stage = element(
    "div",
    { className: "gahb-live-stage" },
    element("div", { className: "gahb-live-pair" }, ...charts.map((c) => c.box)),
    element(
      "div",
      { className: "gahb-live-tools" },
      choose("beta", "β", data.betas, 2),
      choose("h", "step h", data.hs, 2),
      choose("sigmaEnd", "σ_end", data.ends, 2),
      ...places,
      group(
        "noise",
        button(
          "ascend again",
          () => {
            seed++;
            climb();
          },
          { className: "gahb-live-main" },
        ),
      ),
    ),
    status,
  );
  picture.before(stage);
  picture.hidden = true;
  show([[start], [start]]);
  for (const { box: svg, place } of charts) {
    svg.classList.add("gahb-live-drag");
    svg.addEventListener("pointerdown", (event) => {
      start = place(event);
      places.forEach((p, i) => {
        p.input.value = Math.round(10 * start[i]);
        p.tell();
      });
      climb();
    });
  }

  function show(ways) {
    charts.forEach(({ draw }, k) =>
      draw([
        k
          ? { points: [...models[1], models[1][0]].map(([u, v]) => [u, v]), colour: "#d55e00" }
          : { points: models[0].map(([u, v]) => [u, v]), colour: "#d55e00", dots: true },
        { points: ways[k], colour: "#0072b2" },
        { points: [ways[k][ways[k].length - 1]], colour: "#009e73", dots: true },
      ]),
    );
  }

  async function climb() {
    const mine = ++turn;
    try {
      await GAHB.library();
    } catch (error) {
      say(`The figure keeps its picture: ${error.message}.`);
      return;
    }
    if (mine !== turn) return;
    say("");
    const { ascend, memory } = GAHB.methods;
    const ways = models.map((points) =>
      Array.from(
        ascend(memory(points), Float32Array.from(start), { ...way, ramp: false, sigma0: 1, seed, most: 3000 }),
        (s) => [s.y[0], s.y[1]],
      ),
    );
    const longest = Math.max(...ways.map((w) => w.length)),
      frames = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1 : 60;
    for (let f = 1; f <= frames; f++) {
      if (mine !== turn) return;
      show(ways.map((w) => w.slice(0, Math.max(1, Math.ceil((f / frames) * w.length)))));
      await new Promise((done) => setTimeout(done, 25));
    }
    const ends = ways.map((w) => w[w.length - 1]),
      nearest = Math.min(...models[0].map(([u, v]) => Math.hypot(ends[1][0] - u, ends[1][1] - v)));
    status.textContent = `${longest - 1} steps: on the left at one of the eight; on the right on the ring, ${nearest.toFixed(2)} from the nearest of them.`;
  }
};
