// The engine against torch: estimates, J v and Jᵀu of networks, by its kernel and in plain JavaScript.
"use strict";
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const test = require("node:test");

const engine = require("../../gahb_book/browser/static/engine.js")();
const { networks } = JSON.parse(readFileSync(path.join(__dirname, "fixtures.json"), "utf8"));

/**
 * Hold numbers against those of torch: the largest gap may be `share` of the largest of them.
 * @param {ArrayLike<number>} found
 * @param {number[]} wanted
 */
function near(found, wanted, share = 1e-4) {
  assert.equal(found.length, wanted.length);
  const size = Math.max(...wanted.map(Math.abs));
  wanted.forEach((v, i) => assert.ok(Math.abs(found[i] - v) <= share * size, `${i}: ${found[i]}, not ${v}`));
}

const load = (one, plain) => Object.assign(engine.load(one.header, one.data), { plain });
const floats = (values) => values && Float32Array.from(values);

for (const [name, one] of Object.entries(networks)) {
  for (const plain of [false, true]) {
    test(`${name}${plain ? ", without WebAssembly" : ""}: estimate, J v and Jᵀu are torch's`, () => {
      const point = load(one, plain).at(floats(one.y), 8, 8, floats(one.given));
      near(point.estimate, one.x);
      near(point.push(floats(one.v)), one.Jv);
      near(point.pull(floats(one.u)), one.Jtu);
    });
  }
}

test("two points of a network at once keep their own ReLUs", () => {
  const one = networks.unet,
    network = load(one, false);
  const first = network.at(floats(one.y), 8, 8);
  network.at(floats(one.v), 8, 8);
  near(first.push(floats(one.v)), one.Jv);
  near(first.pull(floats(one.u)), one.Jtu);
});

test("⟨u, J v⟩ = ⟨Jᵀu, v⟩ where a low band is given", () => {
  const one = networks["told, residual"];
  const point = load(one, false).at(floats(one.y), 8, 8, floats(one.given));
  const dot = (a, b) => a.reduce((s, x, i) => s + x * b[i], 0);
  const v = floats([...one.given.map((x) => 0.5 * x), ...one.v]);
  const both = point.pullBoth(floats(one.u));
  const there = dot(point.push(v), one.u),
    back = dot([...both.given, ...both.y], v);
  assert.ok(Math.abs(there - back) < 1e-3 * Math.abs(there));
});

test("the SHA-256 is that of the standard", () => {
  const bytes = new TextEncoder().encode("abc");
  assert.equal(engine.sha256(bytes), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("a file that is cut, changed or foreign is refused in words", () => {
  const { header, data } = networks.unet;
  const changed = data.replace(/[A-Z]/, (letter) => (letter === "A" ? "B" : "A"));
  assert.throws(() => engine.load(header, changed), /SHA-256 differs/);
  assert.throws(() => engine.load(header, data.slice(0, -4)), /SHA-256 differs/);
  assert.throws(() => engine.load(header, data, "another"), /the file holds another one, unet/);
  assert.throws(() => engine.load({ ...header, format: 2 }, data), /not a file of this version/);
  const without = header.layers.filter(([op]) => op !== "push");
  assert.throws(() => engine.load({ ...header, layers: without }, data), /layer \d+ \(cat\) does not fit/);
});

test("images of a size that cannot be halved are refused", () => {
  const network = load(networks.unet, false);
  assert.throws(() => network.at(new Float32Array(60), 6, 10), /multiples of 4, not 6 × 10/);
  assert.throws(() => network.at(new Float32Array(60), 8, 8), /y must have 64 values, not 60/);
});
