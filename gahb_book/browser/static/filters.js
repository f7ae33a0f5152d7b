// Chapter 9: the filter that makes the pixel under the pointer, of a network of pixels with a small field, and of the
// coarse-to-fine denoiser whose details have the same field.
"use strict";

GAHB.figures.filters = function (box, data, { say, network }) {
  const { button, call, panel, group, tools, levels } = GAHB,
    W = data.size,
    N = W * W,
    x = GAHB.images(data.examples, N)[0];
  let sigma = data.sigma,
    field = data.first,
    seed = 1,
    at = [...data.pixel],
    y = null;

  const panels = [
    panel("y", "the noisy image: point at a pixel, or move with the arrow keys, to see its filters", {
      tabIndex: 0,
      role: "application",
    }),
    panel("clean x", "the clean image"),
    panel("filter in pixels", "the filter of the network of pixels"),
    panel("filter in wavelets", "the filter of the coarse-to-fine denoiser"),
  ];
  const [noisy, clean, pixels, wavelets] = panels;
  const names = (r) => r.map((name) => data.networks.find((item) => item.name === name));
  const status = GAHB.stage(box, panels, [
    tools(
      levels({
        label: "noise σ",
        values: data.sigmas,
        first: sigma,
        onInput: (v) => {
          sigma = v;
          y = null;
          show();
        },
      }),
      group(
        "receptive field",
        ...GAHB.choice(
          data.fields.map((f) => f.name),
          field,
          (i) => {
            field = i;
            show();
          },
        ),
      ),
      button("other noise", () => {
        seed++;
        y = null;
        show();
      }),
    ),
  ]);

  const show = GAHB.latest(say, async () => {
    const { flat, details } = data.fields[field],
      pointed = [...at],
      [flatItem, lowItem, ...more] = names([flat, data.low, ...details]);
    for (const item of [flatItem, lowItem, ...more]) await network(item);
    say("");
    const now = (y = y || GAHB.methods.addNoise(x, sigma, seed)); // a control that moves meanwhile takes y away
    const [column, row] = pointed,
      pixel = row * W + column,
      common = { y: now, H: W, W };
    const [estimate, one, other] = await Promise.all([
      call("denoise", { net: flat, ...common }),
      call("filter", { net: flat, pixel, ...common }),
      call("coarseToFine", { low: data.low, details, pixel, ...common }),
    ]);
    noisy.show(now, W, W);
    clean.show(x, W, W);
    for (const { canvas } of [noisy, clean]) {
      const pen = canvas.getContext("2d");
      pen.strokeStyle = "#e69f00";
      pen.strokeRect(column - 1, row - 1, 3, 3);
    }
    pixels.show(one, W, W, true);
    wavelets.show(other.filter, W, W, true);
    const { psnr } = GAHB.methods,
      half = (w) => reach(w, pointed).toFixed(1);
    noisy.value.textContent = `${psnr(now, x).toFixed(1)} dB`;
    pixels.value.textContent = `radius ${half(one)}`;
    wavelets.value.textContent = `radius ${half(other.filter)}`;
    status.textContent = `Row ${row}, column ${column}: x = ${x[pixel].toFixed(2)}, y = ${now[pixel].toFixed(2)}; in pixels ${estimate.estimate[pixel].toFixed(2)} (whole image ${psnr(estimate.estimate, x).toFixed(1)} dB), in wavelets ${other.estimate[pixel].toFixed(2)} (${psnr(other.estimate, x).toFixed(1)} dB). Radii hold 90% of the squared weight.`;
  });

  /**
   * The radius around a pixel, in pixels, that holds 90% of a filter's squared weight.
   * @param {ArrayLike<number>} weights
   * @param {number[]} pixel
   */
  function reach(weights, [column, row]) {
    const far = Array.from(weights, (w, i) => [Math.hypot(Math.floor(i / W) - row, (i % W) - column), w * w]).sort(
      (a, b) => a[0] - b[0],
    );
    const all = far.reduce((s, [, w]) => s + w, 0);
    let sum = 0;
    return far.find(([, w]) => (sum += w) >= 0.9 * all)[0];
  }

  for (const { canvas } of [noisy, clean])
    GAHB.pointAt(
      canvas,
      W,
      (place) => {
        at = place;
        show();
      },
      () => {},
    );
};
