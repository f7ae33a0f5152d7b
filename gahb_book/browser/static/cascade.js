// Chapter 10: draw a sketch of 16 × 16 pixels, and let the details be drawn on top, level by level, by networks that
// see a few pixels of it.
"use strict";

GAHB.figures.cascade = function (box, data, { say, network }) {
  const { button, panel, group, tools, slider, choice } = GAHB,
    SMALL = data.size,
    LEVELS = data.details.length,
    examples = GAHB.images(data.examples, SMALL ** 2);
  let sketch = Float32Array.from(examples[0]),
    ink = 1,
    brush = 2,
    seed = 0;

  const drawn = panel("your sketch", "a sketch of 16 by 16 pixels to draw on; arrow keys move the brush, space draws", {
    tabIndex: 0,
    role: "application",
  });
  const results = data.details.map((_, k) =>
    panel(`${SMALL << (k + 1)}×${SMALL << (k + 1)}`, `the image after ${k + 1} of ${LEVELS} levels of details`),
  );
  const added = panel("details", "all the details that were drawn: the image less the sketch");
  const details = GAHB.runs("draw the details", say, draw);
  const status = GAHB.stage(
    box,
    [drawn, ...results, added],
    [
      tools(
        details.button,
        slider({
          label: "grey",
          min: 0,
          max: 10,
          step: 1,
          value: 10,
          show: (v) => (v / 10).toFixed(1),
          onInput: (v) => (ink = v / 10),
        }),
        slider({
          label: "brush",
          min: 1,
          max: 6,
          step: 1,
          value: brush,
          show: (v) => `${v} px`,
          onInput: (v) => (brush = v),
        }),
      ),
      tools(
        group(
          "start from",
          ...choice(data.names, 0, (i) => take(examples[i])),
          button("grey", () => take(new Float32Array(SMALL ** 2).fill(0.5))),
        ),
      ),
    ],
  );

  function show() {
    drawn.show(sketch, SMALL, SMALL);
    if (!drawn.canvas.matches(":focus-visible")) return;
    const pen = drawn.canvas.getContext("2d");
    pen.fillStyle = "#e69f00";
    pen.fillRect(cursor[0], cursor[1], 1, 1);
  }
  function take(image) {
    sketch = Float32Array.from(image);
    show();
    details.begin();
  }
  const cursor = GAHB.brush(drawn.canvas, SMALL, {
    width: () => brush,
    dab(pixels) {
      pixels.forEach((i) => (sketch[i] = ink));
      show();
    },
    moved: show,
    lifted: () => details.begin(),
  });

  async function draw(run) {
    const start = Float32Array.from(sketch),
      steps = [];
    let low = start,
      side = SMALL;
    seed++;
    for (let k = 0; k < LEVELS; k++, side *= 2) {
      // the coarsest level first
      const name = data.details[LEVELS - 1 - k];
      await run.ready(network(data.networks.find((item) => item.name === name)));
      const { haarMerge, noise } = GAHB.methods,
        given = low,
        y = noise(3 * side * side, 2 * (LEVELS * seed + k)).map((z) => data.sigma0 * z);
      const paint = ({ estimate }) => results[k].show(haarMerge(given, estimate, side, side), 2 * side, 2 * side);
      const job = run.call(
        "ascend",
        {
          net: name,
          y,
          given,
          H: side,
          W: side,
          beta: data.beta,
          sigmaEnd: data.sigmaEnd,
          pace: 12,
          seed: 2 * (LEVELS * seed + k) + 1,
        },
        paint,
      );
      const last = await run.owned(job);
      paint(last);
      if (last.stopped) return;
      low = haarMerge(given, last.estimate, side, side);
      steps.push(last.iteration);
    }
    const block = side / SMALL;
    added.show(
      low.map((v, i) => v - start[Math.floor(Math.floor(i / side) / block) * SMALL + Math.floor((i % side) / block)]),
      side,
      side,
      true,
    );
    status.textContent = `${steps.join(" and ")} steps, coarse level first; the means of the blocks are those of the sketch. “Draw the details” again draws others.`;
  }
};
