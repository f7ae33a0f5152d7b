// What the live figures compute with a denoiser: eigenvectors of S = (J + Jᵀ)/2, the trace, the coarse-to-fine
// ascent, free or constrained, the exact denoiser of a small set, the Haar bands. The same formulas as in the
// rooms jacobian, sampling, denoisers and multiscale of gahb_core; long work comes as generators, a step a turn.
"use strict";

function gahbMethods() {
  const dot = (a, b) => {
    let s = 0;
    for (let i = 0; i < a.length; i++) s += a[i] * b[i];
    return s;
  };
  const norm = (a) => Math.sqrt(dot(a, a));
  const addTo = (a, b, k) => {
    for (let i = 0; i < a.length; i++) a[i] += k * b[i];
  };

  /** Return a function that draws numbers between 0 and 1, the same for the same seed. */
  function randomUniform(seed) {
    let a = (seed * 2654435761 + 1013904223) | 0;
    const uniform = () => {
      // mulberry32
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), 1 | a);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
    for (let i = 0; i < 8; i++) uniform();
    return uniform;
  }

  /** Return a function that draws standard normal numbers, the same for the same seed. */
  function randomNormal(seed) {
    const uniform = randomUniform(seed);
    let spare = null;
    return () => {
      if (spare !== null) {
        const z = spare;
        spare = null;
        return z;
      }
      const r = Math.sqrt(-2 * Math.log(1 - uniform())),
        angle = 2 * Math.PI * uniform();
      spare = r * Math.sin(angle);
      return r * Math.cos(angle);
    };
  }

  /** Return `count` standard normal numbers of a seed: those of one seed are the same at every σ. */
  function noise(count, seed) {
    const draw = randomNormal(seed);
    return Float32Array.from({ length: count }, draw);
  }

  const addNoise = (x, sigma, seed) => noise(x.length, seed).map((z, i) => x[i] + sigma * z);

  /** Return −10 log10 of the mean squared difference of two images in [0, 1], in decibels. */
  function psnr(a, b) {
    let s = 0;
    for (let i = 0; i < a.length; i++) s += (a[i] - b[i]) ** 2;
    return -10 * Math.log10(s / a.length);
  }

  /** Return the correlation of two images, their means taken away. */
  function correlation(a, b) {
    const centred = (x) => {
      const mean = x.reduce((s, v) => s + v, 0) / x.length;
      return x.map((v) => v - mean);
    };
    const [u, v] = [centred(a), centred(b)];
    return dot(u, v) / Math.max(1e-12, norm(u) * norm(v));
  }

  /** Return { index, correlation } of the image of a set that is most like x. */
  function closest(images, x) {
    const all = images.map((image) => correlation(image, x)),
      best = Math.max(...all);
    return { index: all.indexOf(best), correlation: best };
  }

  // --- eigenvectors --------------------------------------------------------------------------

  /** Return the eigenvalues of a symmetric matrix (rows of numbers), largest first, with unit vectors (Jacobi). */
  function eigenSymmetric(matrix) {
    const n = matrix.length,
      A = matrix.map((row) => Float64Array.from(row));
    const V = A.map((_, i) => Float64Array.from({ length: n }, (_, j) => (i === j ? 1 : 0)));
    for (let sweep = 0; sweep < 40; sweep++) {
      let off = 0,
        all = 0;
      for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++) {
          all += A[i][j] ** 2;
          if (i !== j) off += A[i][j] ** 2;
        }
      if (off <= 1e-22 * all) break;
      for (let p = 0; p < n; p++)
        for (let q = p + 1; q < n; q++) {
          if (Math.abs(A[p][q]) < 1e-300) continue;
          const tau = (A[q][q] - A[p][p]) / (2 * A[p][q]);
          const t = (tau < 0 ? -1 : 1) / (Math.abs(tau) + Math.hypot(1, tau)),
            c = 1 / Math.hypot(1, t),
            s = t * c;
          const [Ap, Aq, Vp, Vq] = [A[p], A[q], V[p], V[q]];
          for (let k = 0; k < n; k++) {
            const a = A[k][p],
              b = A[k][q];
            A[k][p] = c * a - s * b;
            A[k][q] = s * a + c * b;
          }
          for (let k = 0; k < n; k++) {
            const a = Ap[k],
              b = Aq[k],
              u = Vp[k],
              v = Vq[k];
            Ap[k] = c * a - s * b;
            Aq[k] = s * a + c * b;
            Vp[k] = c * u - s * v;
            Vq[k] = s * u + c * v;
          }
        }
    }
    const order = A.map((_, i) => i).sort((i, j) => A[j][j] - A[i][i]);
    return { values: order.map((i) => A[i][i]), vectors: order.map((i) => V[i]) };
  }

  /** Return `rows`, made orthonormal to each other and to `Q`; a row that adds nothing is drawn anew. */
  function orthonormalize(rows, Q, draw) {
    const done = [];
    for (let row of rows) {
      row = Float32Array.from(row);
      for (let tries = 0, before = norm(row); tries < 4; tries++) {
        for (const q of [...Q, ...done]) addTo(row, q, -dot(row, q));
        const length = norm(row);
        if (!(length > 1e-5 * before)) row = Float32Array.from(row, draw);
        before = norm(row);
        for (let i = 0; i < row.length; i++) row[i] /= before;
        before = 1;
        if (tries && length > 0.7) break;
      }
      done.push(row);
    }
    return done;
  }

  const mix = (weights, rows) => {
    const out = new Float32Array(rows[0].length);
    rows.forEach((row, i) => addTo(out, row, weights[i]));
    return out;
  };

  /** The best approximations to `num` eigenpairs within the space of Q, SQ = S Q; T = QᵀSQ is kept. */
  function ritz(Q, SQ, T, num) {
    const { values, vectors } = eigenSymmetric(T),
      count = Math.min(num, Q.length);
    const lam = values.slice(0, count),
      weights = vectors.slice(0, count);
    const atoms = weights.map((w) => mix(w, Q)),
      images = weights.map((w) => mix(w, SQ));
    const residuals = lam.map((l, k) => {
      let s = 0;
      for (let i = 0; i < atoms[k].length; i++) s += (images[k][i] - l * atoms[k][i]) ** 2;
      return Math.sqrt(s);
    });
    return { lam, atoms, images, residuals };
  }

  /** Yield the `num` largest eigenpairs of S at a point, { lam, atoms, residuals, products, done }, better each time.
   *  Block Lanczos with full reorthogonalisation and thick restarts; `start`: vectors near those sought, such as
   *  the last picture's. It ends when every residual ‖S e − λ e‖ is at most `tol`. An undefined yield is a breath. */
  function* eigenpairs(point, { num = 12, tol = 0.02, block = 4, start = null, seed = 0, most = 400, keep = 64 } = {}) {
    const draw = randomNormal(seed),
      size = point.size;
    if (!(num >= 1 && num <= size)) throw new Error(`num must lie in 1 … ${size}, not ${num}`);
    let rows =
      start && start.length
        ? start
        : Array.from({ length: Math.min(Math.max(block, 1), size) }, () => Float32Array.from({ length: size }, draw));
    let Q = [],
      SQ = [],
      T = [],
      products = 0;
    rows = orthonormalize(rows, Q, draw);
    while (rows.length) {
      for (const row of rows) {
        Q.push(row);
        SQ.push(point.symmetric(row));
        products++;
        yield undefined;
      }
      for (let i = T.length; i < Q.length; i++) {
        T.push(new Float64Array(0));
        const column = SQ.slice(0, i + 1).map((_, j) => (dot(Q[j], SQ[i]) + dot(Q[i], SQ[j])) / 2);
        T[i] = Float64Array.from(column);
        for (let j = 0; j < i; j++) T[j] = Float64Array.from([...T[j].slice(0, i), column[j]]);
      }
      const best = ritz(Q, SQ, T, num);
      const worst = best.lam.length < num ? Infinity : Math.max(...best.residuals);
      const done = worst <= tol || products >= most || Q.length >= size;
      yield { lam: best.lam, atoms: best.atoms, residuals: best.residuals, products, done, converged: worst <= tol };
      if (done) return;
      const order = best.residuals.map((r, k) => k).sort((a, b) => best.residuals[b] - best.residuals[a]);
      // what S adds to the worst approximations: their residuals
      const sought = Math.min(block, size - Q.length);
      let next = order.slice(0, sought).map((k) => best.images[k].map((x, i) => x - best.lam[k] * best.atoms[k][i]));
      while (next.length < sought) next.push(Float32Array.from({ length: size }, draw));
      if (Q.length + next.length > Math.max(keep, num + 2 * block)) {
        const kept = ritz(Q, SQ, T, num + block);
        Q = kept.atoms;
        SQ = kept.images;
        T = kept.lam.map((l, i) => Float64Array.from(kept.lam, (_, j) => (i === j ? l : 0)));
      }
      rows = orthonormalize(next, Q, draw);
    }
  }

  /** Yield tr J from sign vectors, { value, error, count }, better each time (Hutchinson). */
  function* estimateTrace(point, { num = 64, seed = 0 } = {}) {
    const draw = randomNormal(seed),
      seen = [];
    while (seen.length < num) {
      const z = Float32Array.from({ length: point.size }, () => (draw() < 0 ? -1 : 1));
      seen.push(dot(z, point.push(z)));
      const count = seen.length,
        value = seen.reduce((a, b) => a + b) / count;
      const spread = Math.sqrt(seen.reduce((s, x) => s + (x - value) ** 2, 0) / Math.max(1, count - 1));
      yield { value, error: count > 1 ? spread / Math.sqrt(count) : Infinity, count };
    }
  }

  // --- the ascent ----------------------------------------------------------------------------

  const stepSize = (t, h, ramp) => (ramp ? (h * t) / (1 + h * (t - 1)) : h);

  /** Return the levels of the law σ_t = (1 − β h_t) σ_{t−1}, to the first below sigmaEnd. */
  function schedule({ sigma0 = 1, sigmaEnd = 0.01, h = 0.01, ramp = true, beta = 0.1 } = {}) {
    const levels = [sigma0];
    while (levels[levels.length - 1] >= sigmaEnd)
      levels.push(levels[levels.length - 1] * (1 - beta * stepSize(levels.length, h, ramp)));
    return levels;
  }

  function checkAscent({ h, beta, sigmaEnd }) {
    for (const [name, value] of [
      ["h", h],
      ["beta", beta],
    ]) {
      if (!(value > 0 && value <= 1)) throw new Error(`${name} must be in (0, 1], not ${value}`);
    }
    if (!(sigmaEnd > 0 && sigmaEnd < Infinity)) throw new Error(`sigmaEnd must be positive, not ${sigmaEnd}`);
  }

  /** Yield { iteration, y, estimate, sigma, active, h } of y ← y + h (f(y) − y) + γ z until σ̂ is below sigmaEnd.
   *  `f`: (y, σ) → estimate. `sigma0`: the level of y0 where it is known; else it is read off the residual.
   *  `draw`: () → a standard normal number, or (iteration) → an array of them. */
  function* ascend(f, y0, options = {}) {
    const {
      h = 0.01,
      ramp = true,
      beta = 0.1,
      sigmaEnd = 0.01,
      sigma0 = null,
      seed = 0,
      most = 10000,
      sigmaMax = 2,
      draws = null,
    } = options;
    checkAscent({ h, beta, sigmaEnd });
    const draw = randomNormal(seed);
    let y = Float32Array.from(y0),
      level = sigma0;
    for (let t = 0; t <= most; t++) {
      const estimate = f(y, level),
        size = stepSize(t + 1, h, ramp);
      let sum = 0;
      for (let i = 0; i < y.length; i++) sum += (estimate[i] - y[i]) ** 2;
      const sigma = sigma0 === null ? Math.sqrt(sum / y.length) : level;
      if (!(sigma <= sigmaMax))
        throw new Error(
          `the noise level is ${sigma.toPrecision(3)} at step ${t}, above ${sigmaMax}: the ascent diverged`,
        );
      const active = sigma >= sigmaEnd;
      yield { iteration: t, y, estimate, sigma, active, h: size };
      if (!active) return;
      const gamma = Math.sqrt(Math.max(0, (1 - beta * size) ** 2 - (1 - size) ** 2)) * sigma;
      const z = draws ? draws(t) : null;
      y = y.map((v, i) => v + size * (estimate[i] - v) + gamma * (z ? z[i] : draw()));
      if (sigma0 !== null) level *= 1 - beta * size;
    }
  }

  /** Return x ↦ the image nearest to x with what was measured: { kind: "pixels", mask, values } keeps the
   *  pixels where `mask` is not zero, { kind: "blocks", low, W, factor } the mean of each block. */
  function impose(measured) {
    if (measured.kind === "pixels") return (x) => x.map((v, i) => (measured.mask[i] ? measured.values[i] : v));
    if (measured.kind !== "blocks") throw new Error(`measured.kind must be "pixels" or "blocks", not ${measured.kind}`);
    const { low, W, factor } = measured,
      w = W / factor;
    return (x) => {
      const gap = Float64Array.from(low),
        block = (i) => Math.floor(Math.floor(i / W) / factor) * w + Math.floor((i % W) / factor);
      x.forEach((v, i) => (gap[block(i)] -= v / factor ** 2));
      return x.map((v, i) => v + gap[block(i)]);
    };
  }

  // --- other denoisers, and bands ------------------------------------------------------------

  /** Return the exact denoiser (y, σ) → Σ_n w_n x_n of a small set of images, w = softmax(−‖y − x_n‖²/2σ²). */
  function memory(images) {
    return (y, sigma) => {
      if (!(sigma > 0)) throw new Error(`sigma must be positive, not ${sigma}`);
      const logits = images.map((x) => {
        let s = 0;
        for (let i = 0; i < y.length; i++) s += (y[i] - x[i]) ** 2;
        return -s / (2 * sigma * sigma);
      });
      const top = Math.max(...logits),
        weights = logits.map((l) => Math.exp(l - top));
      const total = weights.reduce((a, b) => a + b);
      return mix(
        weights.map((w) => w / total),
        images,
      );
    };
  }

  /** Return { low, details } of one image (H × W): low the block means, details horizontal, vertical, diagonal. */
  function haarSplit(x, H, W) {
    const h = H / 2,
      w = W / 2,
      low = new Float32Array(h * w),
      details = new Float32Array(3 * h * w);
    if (H % 2 || W % 2) throw new Error(`both sides must be even, not ${H} × ${W}`);
    for (let r = 0; r < h; r++)
      for (let s = 0; s < w; s++) {
        const p = 2 * r * W + 2 * s,
          q = r * w + s,
          [a, b, c, d] = [x[p], x[p + 1], x[p + W], x[p + W + 1]];
        low[q] = (a + b + c + d) / 4;
        details[q] = (a + b - c - d) / 4;
        details[h * w + q] = (a - b + c - d) / 4;
        details[2 * h * w + q] = (a - b - c + d) / 4;
      }
    return { low, details };
  }

  /** Return the image (2h × 2w) that haarSplit takes to these bands (h × w). */
  function haarMerge(low, details, h, w) {
    const x = new Float32Array(4 * h * w),
      W = 2 * w,
      n = h * w;
    for (let r = 0; r < h; r++)
      for (let s = 0; s < w; s++) {
        const q = r * w + s,
          p = 2 * r * W + 2 * s,
          [l, a, b, c] = [low[q], details[q], details[n + q], details[2 * n + q]];
        x[p] = l + a + b + c;
        x[p + 1] = l + a - b - c;
        x[p + W] = l - a + b - c;
        x[p + W + 1] = l - a - b + c;
      }
    return x;
  }

  /** Return { estimate, pull(u) } of the coarse-to-fine denoiser at y: `lowAt(y, h, w)` is the point of the low band's
   *  network, detailsAt[j](bands, h, w, given) that of the details of level j, finest first. Backwards, the low band
   *  that each level was told is pulled back as well. */
  function coarseToFine(y, H, W, lowAt, detailsAt) {
    const points = [],
      bands = [];
    let low = y,
      h = H,
      w = W;
    for (const _ of detailsAt) {
      const both = haarSplit(low, h, w);
      [low, h, w] = [both.low, h / 2, w / 2];
      bands.push(both.details);
    }
    const bottom = lowAt(low, h, w);
    let estimate = bottom.estimate;
    for (let j = detailsAt.length - 1; j >= 0; j--, h *= 2, w *= 2) {
      points[j] = detailsAt[j](bands[j], h, w, estimate);
      estimate = haarMerge(estimate, points[j].estimate, h, w);
    }
    const pull = (u) => {
      const parts = [];
      let down = u,
        [r, s] = [H, W];
      for (const point of points) {
        const both = haarSplit(down, r, s),
          back = point.pullBoth(both.details.map((v) => 4 * v));
        down = both.low.map((v, i) => 4 * v + back.given[i]);
        parts.push(back.y);
        [r, s] = [r / 2, s / 2];
      }
      down = bottom.pull(down);
      for (const part of parts.reverse()) {
        down = haarMerge(down, part, r, s).map((v) => v / 4);
        [r, s] = [2 * r, 2 * s];
      }
      return down;
    };
    return { estimate, pull };
  }

  /** Return fixed orthonormal bases of images W × W, name → { analyze, synthesize }: pixels, plane waves (Hartley's
   *  form, its own inverse), and Haar wavelets on `levels` scales. As in the room bases. */
  function fixedBases(W, levels = 3) {
    const table = (f) =>
      Float64Array.from({ length: W * W }, (_, i) => f((2 * Math.PI * Math.floor(i / W) * (i % W)) / W) / Math.sqrt(W));
    const cosines = table(Math.cos),
      sines = table(Math.sin);
    const times = (a, b) => {
      const out = new Float64Array(W * W);
      for (let i = 0; i < W; i++)
        for (let k = 0; k < W; k++) for (let j = 0; j < W; j++) out[i * W + j] += a[i * W + k] * b[k * W + j];
      return out;
    };
    const waves = (x) => {
      const [c, s] = [times(cosines, x), times(sines, x)],
        sum = cosines.map((v, i) => v + sines[i]),
        gap = cosines.map((v, i) => v - sines[i]);
      const [a, b] = [times(c, sum), times(s, gap)];
      return Float32Array.from(a, (v, i) => v + b[i]);
    };
    const split = (x) => {
      let low = x,
        side = W,
        details = [];
      for (let j = 0; j < levels; j++, side /= 2) {
        const bands = haarSplit(low, side, side);
        details = [...bands.details.map((v) => v * 2 ** (j + 1)), ...details];
        low = bands.low;
      }
      return Float32Array.from([...low.map((v) => v * 2 ** levels), ...details]);
    };
    const join = (c) => {
      let side = W >> levels,
        at = side * side,
        low = c.slice(0, at).map((v) => v / 2 ** levels);
      for (let j = levels; j > 0; j--, side *= 2) {
        const next = at + 3 * side * side;
        low = haarMerge(
          low,
          c.slice(at, next).map((v) => v / 2 ** j),
          side,
          side,
        );
        at = next;
      }
      return low;
    };
    return {
      pixels: { analyze: (x) => x, synthesize: (c) => c },
      Fourier: { analyze: waves, synthesize: waves },
      wavelets: { analyze: split, synthesize: join },
    };
  }

  return {
    coarseToFine,
    fixedBases,
    dot,
    norm,
    randomUniform,
    randomNormal,
    noise,
    addNoise,
    psnr,
    correlation,
    closest,
    eigenSymmetric,
    eigenpairs,
    estimateTrace,
    stepSize,
    schedule,
    ascend,
    impose,
    memory,
    haarSplit,
    haarMerge,
  };
}
if (typeof module !== "undefined") module.exports = gahbMethods;
