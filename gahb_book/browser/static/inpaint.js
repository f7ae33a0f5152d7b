// Chapter 11: paint over a picture, and see what may have been there: several ascents that keep the other pixels, their
// mean, and where they differ.
"use strict";

GAHB.figures.inpaint = function (box, data, { say, network }) {
  const { button, panel, group, tools } = GAHB,
    W = data.size,
    N = W * W,
    item = data.networks[0],
    COUNT = 4;
  const examples = GAHB.images(data.examples, N),
    mask = new Float32Array(N).fill(1); // 1 is known
  let x = examples[0],
    brush = data.brush,
    pen = 0,
    seed = 0;

  const middle = (r, c) => Math.max(Math.abs(r - W / 2 + 0.5), Math.abs(c - W / 2 + 0.5)) < 6;
  hide(middle);
  const drawn = panel(
    "paint over it",
    "the picture: what is painted over is unknown; arrow keys move the brush, space paints",
    { tabIndex: 0, role: "application" },
  );
  const ends = Array.from({ length: COUNT }, (_, k) =>
    panel(`completion ${k + 1}`, `completion ${k + 1} of ${COUNT}, by the network`),
  );
  const [mean, spread, error] = [
    panel("mean", "the mean of the completions"),
    panel("spread", "standard deviation of the completions: black is none"),
    panel("|mean − x|", "what the mean misses of the clean picture: black is nothing"),
  ];
  const completions = GAHB.runs("complete", say, complete);
  const status = GAHB.stage(
    box,
    [drawn, ...ends, mean, spread, error],
    [
      tools(
        completions.button,
        group("brush", ...GAHB.choice(["paint over", "give back"], 0, (i) => (pen = i))),
        GAHB.slider({
          label: "width of the brush",
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
          "unknown",
          button("nothing", () => cover(() => false)),
          button("the middle", () => cover(middle)),
          button("the lower half", () => cover((r) => r >= W / 2)),
          button("all but one pixel in ten", () => cover((r, c) => (r * 7 + c * 3) % 10 > 0)),
          button("all", () => cover(() => true)),
        ),
        group(
          "picture",
          ...GAHB.choice(data.names, 0, (i) => {
            x = examples[i];
            ask();
          }),
        ),
      ),
    ],
  );

  function show() {
    const canvas = drawn.canvas;
    drawn.show(x, W, W);
    const ink = canvas.getContext("2d");
    ink.fillStyle = "#e69f00";
    mask.forEach((known, i) => known || ink.fillRect(i % W, Math.floor(i / W), 1, 1));
    if (!canvas.matches(":focus-visible")) return;
    ink.strokeStyle = "#56b4e9";
    ink.strokeRect(cursor[0] + 0.5 - brush / 2, cursor[1] + 0.5 - brush / 2, brush, brush);
  }

  function hide(unknown) {
    mask.forEach((_, i) => (mask[i] = unknown(Math.floor(i / W), i % W) ? 0 : 1));
  }
  function cover(unknown) {
    hide(unknown);
    ask();
  }
  function ask() {
    // another question: what was on its way answers the last one
    if (completions.running()) status.textContent = "The question has changed: “complete” answers the new one.";
    completions.end();
    show();
  }

  const cursor = GAHB.brush(drawn.canvas, W, {
    width: () => brush,
    dab(pixels) {
      pixels.forEach((i) => (mask[i] = pen));
      ask();
    },
    moved: show,
  });

  async function complete(run) {
    const unknown = mask.filter((known) => !known).length,
      known = Float32Array.from(mask),
      values = x;
    if (!unknown) {
      say("Nothing is unknown: paint over a part of the picture first.");
      return;
    }
    await run.ready(network(item));
    say("");
    seed += COUNT;
    show();
    const { noise } = GAHB.methods,
      measured = { kind: "pixels", mask: known, values };
    const jobs = ends.map((end, k) => {
      const y = noise(N, 2 * (seed + k)).map((z, i) => z + (known[i] ? values[i] : 0.5));
      return run.call(
        "ascend",
        { net: item.name, y, H: W, W, seed: 2 * (seed + k) + 1, beta: 0.1, sigmaEnd: 0.01, pace: 15, measured },
        (step) => end.show(step.estimate, W, W),
      );
    });
    const found = await run.owned(Promise.all(jobs));
    found.forEach((last, k) => {
      ends[k].show(last.estimate, W, W);
      ends[k].value.textContent = `${GAHB.methods.psnr(last.estimate, values).toFixed(1)} dB`;
    });
    if (found.some((last) => last.stopped)) status.textContent = "Stopped on the way.";
    else
      summarize(
        found.map((last) => last.estimate),
        values,
        unknown,
      );
  }

  function summarize(images, values, unknown) {
    const average = values.map((_, i) => images.reduce((s, im) => s + im[i], 0) / COUNT);
    const wide = values.map((_, i) =>
      Math.sqrt(images.reduce((s, im) => s + (im[i] - average[i]) ** 2, 0) / (COUNT - 1)),
    );
    const gaps = average.map((v, i) => Math.abs(v - values[i])),
      rms = (a) => Math.sqrt(a.reduce((s, v) => s + v * v, 0) / unknown);
    const most = Math.max(1e-6, ...wide, ...gaps);
    mean.show(average, W, W);
    spread.show(
      wide.map((v) => v / most),
      W,
      W,
    );
    error.show(
      gaps.map((v) => v / most),
      W,
      W,
    );
    mean.value.textContent = `${GAHB.methods.psnr(average, values).toFixed(1)} dB`;
    status.textContent = `${unknown} of ${N} pixels were unknown. There the completions differ by ${rms(wide).toFixed(2)}, and their mean misses the picture by ${rms(gaps).toFixed(2)} (root mean square).`;
  }
};
