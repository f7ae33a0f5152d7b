// What figures compute with a denoiser, against torch, and against what must hold.
"use strict";
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const test = require("node:test");

const engine = require("../../gahb_book/browser/static/engine.js")();
const methods = require("../../gahb_book/browser/static/methods.js")();
const fixtures = JSON.parse(readFileSync(path.join(__dirname, "fixtures.json"), "utf8"));

const { header, data, y: noisy } = fixtures.networks.unet,
  wanted = fixtures.methods,
  y = Float32Array.from(noisy);
const images = [0, 1, 2, 3].map((i) => Float32Array.from(wanted.images.slice(64 * i, 64 * i + 64)));

const near = (found, exact, gap = 1e-4) => {
  assert.equal(found.length, exact.length);
  exact.forEach((v, i) => assert.ok(Math.abs(found[i] - v) <= gap, `${i}: ${found[i]}, not ${v}`));
};

test("eigenvalues of S are torch's, and their vectors eigenvectors", () => {
  const point = engine.load(header, data).at(y, 8, 8);
  /** @type {any} */
  let last;
  for (const step of methods.eigenpairs(point, { num: 3, tol: 1e-4 })) last = step || last;
  assert.ok(last.converged);
  near(last.lam, wanted.lam, 1e-3);
  last.atoms.forEach((e, k) => near(point.symmetric(e), [...e].map((v) => last.lam[k] * v), 1e-3)); // prettier-ignore
});

test("the trace lies within its error", () => {
  const point = engine.load(header, data).at(y, 8, 8);
  const steps = [...methods.estimateTrace(point, { num: 200 })],
    { value, error } = steps.at(-1);
  assert.equal(steps.length, 200);
  assert.ok(Math.abs(value - wanted.trace) < 4 * error);
});

test("the law of σ, the posterior mean of a set, PSNR and correlation are torch's", () => {
  near(methods.schedule(), wanted.schedule, 1e-6);
  near(methods.memory(images)(y, 2), wanted.empirical);
  assert.ok(Math.abs(methods.psnr(images[0], y) - wanted.psnr) < 1e-4);
  assert.ok(Math.abs(methods.correlation(images[0], y) - wanted.correlation) < 1e-5);
});

test("Haar bands are torch's, and put together they are the image", () => {
  const { low, details } = methods.haarSplit(y, 8, 8);
  near(low, wanted.low);
  near(details, wanted.details);
  near(methods.haarMerge(low, details, 4, 4), [...y], 1e-6);
});

test("an ascent of f(y) = 0 follows its law, and ends below sigmaEnd", () => {
  const steps = [...methods.ascend((x) => x.map(() => 0), y, { sigmaEnd: 0.05, seed: 1 })];
  assert.ok(steps.at(-1).sigma < 0.05);
  assert.ok(steps.slice(0, -1).every((step) => step.sigma >= 0.05));
  assert.throws(() => methods.ascend((x) => x, y, { h: 2 }).next(), /h must be in \(0, 1\], not 2/);
});

test("fixed bases are orthonormal", () => {
  for (const { analyze, synthesize } of Object.values(methods.fixedBases(8))) {
    near(synthesize(analyze(y)), [...y], 1e-5);
    assert.ok(Math.abs(methods.norm(analyze(y)) - methods.norm(y)) < 1e-4);
  }
});

test("numbers of a seed are the same again, and normal", () => {
  const z = methods.noise(20_000, 3);
  assert.deepEqual(z, methods.noise(20_000, 3));
  const mean = z.reduce((s, v) => s + v, 0) / z.length;
  assert.ok(Math.abs(mean) < 0.03);
  assert.ok(Math.abs(methods.dot(z, z) / z.length - 1) < 0.05);
});
