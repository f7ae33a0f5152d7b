// node run.js < {header, data, H, W, y, given, v, u}: a network's estimate, J v and Jᵀu, by the engine.
"use strict";
const engine = require("../../gahb_book/browser/static/engine.js")();

const { header, data, H, W, y, given, v, u } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const answers = [false, true].map((plain) => {
  const network = Object.assign(engine.load(header, data), { plain });
  const point = network.at(Float32Array.from(y), H, W, given && Float32Array.from(given));
  const [Jv, Jtu] = [point.push(Float32Array.from(v)), point.pull(Float32Array.from(u))];
  return { x: [...point.estimate], Jv: [...Jv], Jtu: [...Jtu] };
});
console.log(JSON.stringify(answers));
