// The engine of the live figures: bias-free networks, their Jacobians and what is made of them, in plain
// JavaScript over a WebAssembly kernel of one convolution (../kernel.ts). What is computed
// with them is in methods.js. Neither touches the page, and both run in a worker, in a page, and in node.
//
// A bias-free ReLU network is linear given which of its ReLUs are open. `at(y)` runs it once and keeps the
// activations; J v is the same chain with these masks in place of the ReLUs; Jᵀu is the chain backwards:
// kernels flipped and channels swapped, a pooling spreads ¼, an up-convolution becomes one of stride 2, a
// concatenation splits.
"use strict";

function gahbEngine() {
  const KERNEL =
    "AGFzbQEAAAABGQNgAn9/AGADf39/AGAKf39/f39/f39/fwACDwEDZW52Bm1lbW9yeQIAAAMEAwABAgcfBARjb252AAIEcmVsdQAABG1hc2sAAQZtZW1vcnkCAArwBQM+ACAAIAFqIQEDQCAAIAFJBEAgAP0MAAAAAAAAAAAAAAAAAAAAACAA/QAEAP3pAf0LBAAgAEEQaiEADAELCwtMACAAIAJqIQIDQCAAIAJJBEAgACAA/QAEACAB/QAEAP0MAAAAAAAAAAAAAAAAAAAAAP1E/U79CwQAIABBEGohACABQRBqIQEMAQsLC+EEAgt/C3sgBkEEakEAIAlBA0YbIRMgAyAJIAlsQQR0bCEUA0AgBCASSgRAQQAhDgNAIAUgDksEQP0MAAAAAAAAAAAAAAAAAAAAACEV/QwAAAAAAAAAAAAAAAAAAAAAIRb9DAAAAAAAAAAAAAAAAAAAAAAhF/0MAAAAAAAAAAAAAAAAAAAAACEY/QwAAAAAAAAAAAAAAAAAAAAAIRn9DAAAAAAAAAAAAAAAAAAAAAAhGv0MAAAAAAAAAAAAAAAAAAAAACEb/QwAAAAAAAAAAAAAAAAAAAAAIRwgAiELIAAgDmogE2shDUEAIQ8DQCADIA9KBEAgDSEKQQAhEANAIAkgEEoEQCAKIQxBACERA0AgCSARSgRAIBUgC/0JAgAiHiAM/QAEACId/eYB/eQBIRUgGSAeIAz9AAQQIh795gH95AEhGSAWIAv9CQIEIh8gHf3mAf3kASEWIBogHyAe/eYB/eQBIRogFyAL/QkCCCIfIB395gH95AEhFyAbIB8gHv3mAf3kASEbIBggC/0JAgwiHyAd/eYB/eQBIRggHCAfIB795gH95AEhHCALQRBqIQsgDEEEaiEMIBFBAWohEQwBCwsgBiAKaiEKIBBBAWohEAwBCwsgByANaiENIA9BAWohDwwBCwsgASAOaiIKIBX9CwQAIAogGf0LBBAgCCAKaiIKIBb9CwQAIAogGv0LBBAgCCAKaiIKIBf9CwQAIAogG/0LBBAgCCAKaiIKIBj9CwQAIAogHP0LBBAgDkEgaiEODAELCyACIBRqIQIgASAIQQJ0aiEBIBJBAWohEgwBCwsL";
  const MAX_FLOATS = 2 ** 28; // a gigabyte

  function fail(text) {
    throw new Error(text);
  }

  // --- bytes ---------------------------------------------------------------------------------

  function fromBase64(text) {
    const raw = atob(text),
      bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return bytes;
  }

  /** Return the SHA-256 of bytes in hexadecimal digits (crypto.subtle is missing on plain http). */
  function sha256(bytes) {
    const primes = [],
      root = (p, power) => ((p ** power % 1) * 2 ** 32) | 0;
    for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
    const K = primes.map((p) => root(p, 1 / 3)),
      h = primes.slice(0, 8).map((p) => root(p, 1 / 2));
    const length = ((bytes.length + 72) >> 6) << 6,
      view = new DataView(new ArrayBuffer(length));
    new Uint8Array(view.buffer).set(bytes);
    view.setUint8(bytes.length, 128);
    view.setUint32(length - 8, Math.floor(bytes.length / 2 ** 29));
    view.setUint32(length - 4, (bytes.length << 3) >>> 0);
    const w = new Int32Array(64),
      turn = (x, n) => (x >>> n) | (x << (32 - n));
    for (let start = 0; start < length; start += 64) {
      for (let i = 0; i < 64; i++) {
        if (i < 16) w[i] = view.getInt32(start + 4 * i);
        else {
          const a = w[i - 15],
            b = w[i - 2];
          const s0 = turn(a, 7) ^ turn(a, 18) ^ (a >>> 3),
            s1 = turn(b, 17) ^ turn(b, 19) ^ (b >>> 10);
          w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
      }
      let [a, b, c, d, e, f, g, q] = h;
      for (let i = 0; i < 64; i++) {
        const s1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25),
          s0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
        const t = (q + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
        const u = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        [q, g, f, e, d, c, b, a] = [g, f, e, (d + t) | 0, c, b, a, (t + u) | 0];
      }
      [a, b, c, d, e, f, g, q].forEach((x, i) => (h[i] = (h[i] + x) | 0));
    }
    return h.map((x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
  }

  function fromHalf(bits) {
    const e = (bits >> 10) & 31,
      m = bits & 1023,
      sign = bits >> 15 ? -1 : 1;
    return sign * (e ? (1 + m / 1024) * 2 ** (e - 15) : m * 2 ** -24);
  }

  // --- the kernel ----------------------------------------------------------------------------

  let compiled; // undefined: not tried yet; null: no WebAssembly, or none with vectors

  /**
   * @typedef {{conv: Function, relu: Function, mask: Function, buffer: ArrayBuffer, simd: boolean}} Kernel
   * @param {number} pages of memory, 64 kB each
   * @param {boolean} plain without WebAssembly
   * @returns {Kernel}
   */
  function kernelFor(pages, plain) {
    if (compiled === undefined) {
      try {
        compiled = new WebAssembly.Module(fromBase64(KERNEL));
      } catch {
        compiled = null;
      }
    }
    if (compiled && !plain) {
      const memory = new WebAssembly.Memory({ initial: pages });
      const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
      return /** @type {any} */ ({ ...exports, buffer: memory.buffer, simd: true });
    }
    return plainKernel(new ArrayBuffer(pages * 65536));
  }

  /** The kernel's three functions in JavaScript, for browsers without WebAssembly's vectors. */
  function plainKernel(buffer) {
    const x = new Float32Array(buffer),
      four = new Float32Array(4);
    function conv(src, dst, weights, channels, blocks, bytes, row, planeIn, planeOut, side) {
      [src, dst, weights, bytes, row, planeIn, planeOut] = [src, dst, weights, bytes, row, planeIn, planeOut].map(
        (a) => a >> 2,
      );
      const taps = side * side,
        shift = new Int32Array(taps);
      for (let t = 0; t < taps; t++) shift[t] = side === 3 ? (Math.floor(t / 3) - 1) * row + (t % 3) - 1 : 0;
      for (let o = 0; o < 4 * blocks; o++) {
        const to = dst + o * planeOut;
        x.fill(0, to, to + bytes);
        for (let c = 0; c < channels; c++) {
          const w = weights + ((o >> 2) * channels + c) * taps * 4 + (o & 3),
            from = src + c * planeIn;
          if (taps === 1) {
            const k = x[w];
            if (k !== 0) for (let i = 0; i < bytes; i++) x[to + i] += k * x[from + i];
          } else {
            const k0 = x[w],
              k1 = x[w + 4],
              k2 = x[w + 8],
              k3 = x[w + 12],
              k4 = x[w + 16];
            const k5 = x[w + 20],
              k6 = x[w + 24],
              k7 = x[w + 28],
              k8 = x[w + 32];
            let p = from - row - 1,
              q = from - 1,
              r = from + row - 1;
            for (let i = 0; i < bytes; i++, p++, q++, r++) {
              x[to + i] +=
                k0 * x[p] +
                k1 * x[p + 1] +
                k2 * x[p + 2] +
                k3 * x[q] +
                k4 * x[q + 1] +
                k5 * x[q + 2] +
                k6 * x[r] +
                k7 * x[r + 1] +
                k8 * x[r + 2];
            }
          }
        }
      }
    }
    function relu(p, bytes) {
      for (let i = p >> 2, end = (p + bytes) >> 2; i < end; i++) if (!(x[i] > 0)) x[i] = 0;
    }
    function mask(p, open, bytes) {
      for (let i = p >> 2, j = open >> 2, end = (p + bytes) >> 2; i < end; i++, j++) if (!(x[j] > 0)) x[i] = 0;
    }
    return { conv, relu, mask, buffer, simd: false };
  }

  // --- a network's file ----------------------------------------------------------------------

  const shapeOf = ([op, a, b, k]) => (op === "conv" ? [b, a, k, k] : op === "up" ? [a, b, 2, 2] : null);
  const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);

  /** For the "push" at layer i: the layer that takes up again what it keeps. */
  function takerOf(layers, i) {
    let depth = 0;
    do depth += layers[i][0] === "push" ? 1 : ["cat", "add"].includes(layers[i][0]) ? -1 : 0;
    while (depth && ++i < layers.length);
    return i;
  }

  /** How many poolings lie between the full and the coarsest resolution. */
  function depthOf(layers) {
    let depth = 0;
    return Math.max(0, ...layers.map(([op]) => (depth += Number(op === "pool") - Number(op === "up"))));
  }

  /** Follow the channels through the layers; refuse what does not fit together. */
  function checkLayers(header) {
    const { name, layers, channels } = header,
      skips = [];
    let now = channels.in;
    for (const [i, layer] of layers.entries()) {
      const wrong = () =>
        fail(`network ${name}: layer ${i} (${layer.join(" ")}) does not fit the ${now} channels before it`);
      if (layer[0] === "push") skips.push(now);
      else if (layer[0] === "cat") now += skips.length ? skips.pop() : wrong();
      else if (layer[0] === "add") skips.pop() === now || wrong();
      else if (layer[0] === "conv" || layer[0] === "up") {
        if (layer[1] !== now || (layer[0] === "conv" && ![1, 3].includes(layer[3]))) wrong();
        now = layer[2];
      } else if (layer[0] !== "pool") wrong();
    }
    if (now !== channels.out || skips.length)
      fail(`network ${name}: its layers end with ${now} channels, not ${channels.out}`);
  }

  /** Return the weights of each layer as floats: halves, floats, or 16-bit steps of a scale a channel. */
  function unpack(header, bytes) {
    let at = 0;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const take = (width, count, read) => {
      if (at + width * count > bytes.length) fail(`network ${header.name}: its weights end too early`);
      const out = Float32Array.from({ length: count }, (_, i) => read(at + width * i));
      at += width * count;
      return out;
    };
    const float = (p) => view.getFloat32(p, true);
    const kinds = {
      half: [2, (p) => fromHalf(view.getUint16(p, true))],
      float: [4, float],
      steps: [2, (p) => view.getInt16(p, true)],
    };
    const weights = header.layers.filter(shapeOf).map((layer, i) => {
      const shape = shapeOf(layer),
        [kind, scaled] = header.stored[i] || [];
      if (!kinds[kind]) fail(`network ${header.name}: weights of an unknown kind, ${kind}`);
      const w = take(kinds[kind][0], sizeOf(shape), kinds[kind][1]);
      if (scaled) {
        const scale = take(4, shape[0], float),
          each = sizeOf(shape.slice(1));
        for (let j = 0; j < w.length; j++) w[j] *= scale[Math.floor(j / each)];
      }
      return w;
    });
    if (at !== bytes.length)
      fail(`network ${header.name}: its header describes ${at} bytes of weights, not ${bytes.length}`);
    return weights;
  }

  /** Return the network of a header and its weights (base64); refuse one that is cut, changed or foreign. */
  function load(header, data, name = header && header.name) {
    if (!header || header.format !== 1 || !Array.isArray(header.layers))
      fail(`network ${name}: not a file of this version`);
    if (header.name !== name) fail(`network ${name}: the file holds another one, ${header.name}`);
    let bytes;
    try {
      bytes = fromBase64(data);
    } catch {
      fail(`network ${name}: its weights are not base64`);
    }
    if (sha256(bytes) !== header.sha256)
      fail(`network ${name}: its weights are not those of its header (SHA-256 differs): cut or changed`);
    checkLayers(header);
    return new Network(header, unpack(header, bytes));
  }

  // --- a network at one size -----------------------------------------------------------------

  const ceil = (n, step) => Math.ceil(n / step) * step;

  function geometry(H, W) {
    const S = W + 1,
      length = ceil(H * S, 8),
      lead = ceil(S + 1, 4);
    return { H, W, S, length, lead, plane: ceil(lead + length + S + 1, 4) };
  }

  /** Weights (out, in, k, k) in the order of the kernel: [out / 4][in][tap][4], zeros where out is no multiple. */
  function pack(w, out, inner, taps) {
    const packed = new Float32Array(ceil(out, 4) * inner * taps);
    for (let o = 0; o < out; o++) {
      for (let i = 0; i < inner; i++) {
        for (let t = 0; t < taps; t++)
          packed[(((o >> 2) * inner + i) * taps + t) * 4 + (o & 3)] = w[(o * inner + i) * taps + t];
      }
    }
    return packed;
  }

  function transpose(w, out, inner, taps) {
    const turned = new Float32Array(w.length);
    for (let o = 0; o < out; o++) {
      for (let i = 0; i < inner; i++) {
        for (let t = 0; t < taps; t++) turned[(i * out + o) * taps + taps - 1 - t] = w[(o * inner + i) * taps + t];
      }
    }
    return turned;
  }

  /** An up-convolution's weights (in, out, 2, 2) as those of a 1×1 convolution to 4 × out channels. */
  function asPointwise(w, inner, out) {
    const flat = new Float32Array(w.length);
    for (let i = 0; i < inner; i++) for (let o = 0; o < 4 * out; o++) flat[o * inner + i] = w[i * 4 * out + o];
    return flat;
  }

  /** Buffers, packed weights and steps of a network for images of one size. Addresses count floats. */
  class Plan {
    constructor(network, H, W, plain) {
      this.network = network;
      this.owner = null; // the point whose activations stand here
      this.constant = []; // [address, packed weights]
      let top = 0;
      const reserve = (count) => (top += ceil(count, 4)) - ceil(count, 4);
      const tensor = (C, geo, address) => ({ C, geo, address: address ?? reserve(ceil(C, 4) * geo.plane) });
      const weights = (w) => {
        const address = reserve(w.length);
        this.constant.push([address, w]);
        return address;
      };
      this.steps = [];
      const { layers, channels } = network.header,
        skips = [];
      const join = (i) => {
        // where the up-convolution before a "cat" puts what was kept behind its own
        const pooled = layers[i + 1] && layers[i][0] === "push" && layers[i + 1][0] === "pool";
        const taker = pooled ? takerOf(layers, i) : 0;
        return taker && layers[taker][0] === "cat" && layers[taker - 1][0] === "up" ? layers[taker - 1][2] : 0;
      };
      let now = (this.input = tensor(channels.in, geometry(H, W)));
      const packed = layers.filter(shapeOf).map((layer, i) => network.packed(i, layer));
      layers.forEach((layer, i) => {
        const [op, inner, out, side, relu] = layer;
        const from = now;
        if (op === "conv") {
          const { ahead, back } = packed.shift();
          const first = join(i + 1);
          if (first) {
            // written where it will be concatenated
            const joint = tensor(first + out, from.geo);
            reserve(4 * from.geo.plane); // the kernel writes planes by four
            now = { ...tensor(out, from.geo, joint.address + first * from.geo.plane), joint };
          } else now = tensor(out, from.geo);
          this.steps.push({ op, from, to: now, side, relu: Boolean(relu), ahead: weights(ahead), back: weights(back) });
        } else if (op === "pool") {
          now = tensor(from.C, geometry(from.geo.H / 2, from.geo.W / 2));
          this.steps.push({ op, from, to: now, kept: Boolean(from.joint) });
        } else if (op === "up") {
          const { ahead, back } = packed.shift(),
            skip = layers[i + 1] && layers[i + 1][0] === "cat" && skips.at(-1);
          const wide = tensor(4 * out, from.geo);
          this.steps.push({
            op: "conv",
            from,
            to: wide,
            side: 1,
            relu: false,
            ahead: weights(ahead),
            back: weights(back),
          });
          now = tensor(out, geometry(2 * from.geo.H, 2 * from.geo.W), skip && skip.joint ? skip.joint.address : null);
          this.steps.push({ op: "spread", from: wide, to: now });
        } else if (op === "push") {
          if (!from.joint) this.steps.push({ op: "fork", from, to: tensor(from.C, from.geo) });
          skips.push(from.joint ? from : this.steps.at(-1).to);
        } else if (op === "cat") {
          const skip = skips.pop(),
            { C, geo } = from;
          now = skip.joint || tensor(C + skip.C, geo);
          const at = (c) => tensor(0, geo, now.address + c * geo.plane);
          if (!skip.joint) this.steps.push({ op: "place", from, to: at(0) }, { op: "place", from: skip, to: at(C) });
        } else if (op === "add") {
          now = tensor(from.C, from.geo);
          this.steps.push({ op: "sum", from, to: now, kept: skips.pop() });
        }
      });
      this.output = now;
      this.build(top, plain);
    }

    build(top, plain) {
      // activations and weights first, then, at the same distances, the vectors that are pushed and pulled
      this.far = top;
      if (2 * top > MAX_FLOATS)
        fail(`an image of ${this.input.geo.H} × ${this.input.geo.W} is too large for this network here`);
      this.kernel = kernelFor(Math.ceil((2 * top * 4) / 65536) + 1, plain);
      this.x = new Float32Array(this.kernel.buffer);
      for (const [address, w] of this.constant) this.x.set(w, address);
      this.constant = null;
    }

    clean({ C, geo, address }, far) {
      for (let c = 0; c < C; c++) {
        const p = address + far + c * geo.plane + geo.lead;
        for (let r = 1; r <= geo.H; r++) this.x[p + r * geo.S - 1] = 0;
        this.x.fill(0, p + geo.H * geo.S, p + geo.length);
      }
    }

    convolve(from, to, weights, side, far) {
      const first = ({ address, geo }) => 4 * (address + far + geo.lead),
        g = from.geo;
      this.kernel.conv(
        first(from),
        first(to),
        4 * weights,
        from.C,
        ceil(to.C, 4) / 4,
        4 * g.length,
        4 * g.S,
        4 * g.plane,
        4 * g.plane,
        side,
      );
    }

    /** For each coarse pixel: its address in `coarse` and that of the first of its four in `fine`. */
    eachBlock(coarse, fine, far, visit) {
      for (let c = 0; c < fine.C; c++) {
        for (let r = 0; r < coarse.geo.H; r++) {
          const p = coarse.address + far + coarse.geo.lead + r * coarse.geo.S;
          const q = fine.address + far + c * fine.geo.plane + fine.geo.lead + 2 * r * fine.geo.S;
          for (let s = 0; s < coarse.geo.W; s++) visit(p + s, q + 2 * s, c);
        }
      }
    }

    pool(from, to, far) {
      const x = this.x,
        S = from.geo.S,
        plane = to.geo.plane;
      this.eachBlock(to, from, far, (p, q, c) => {
        x[p + c * plane] = 0.25 * (x[q] + x[q + 1] + x[q + S] + x[q + S + 1]);
      });
    }

    spread(from, to, far) {
      const x = this.x,
        S = to.geo.S,
        plane = from.geo.plane;
      this.eachBlock(from, to, far, (p, q, c) => {
        const o = p + 4 * c * plane;
        x[q] = x[o];
        x[q + 1] = x[o + plane];
        x[q + S] = x[o + 2 * plane];
        x[q + S + 1] = x[o + 3 * plane];
      });
    }

    unpool(from, to, far, kept) {
      // adds where what was pooled went on over the skip as well
      const x = this.x,
        S = from.geo.S,
        plane = to.geo.plane;
      if (!kept) x.fill(0, from.address + far, from.address + far + from.C * from.geo.plane);
      this.eachBlock(to, from, far, (p, q, c) => {
        const quarter = 0.25 * x[p + c * plane];
        x[q] += quarter;
        x[q + 1] += quarter;
        x[q + S] += quarter;
        x[q + S + 1] += quarter;
      });
    }

    unspread(from, to, far) {
      const x = this.x,
        S = to.geo.S,
        plane = from.geo.plane;
      this.eachBlock(from, to, far, (p, q, c) => {
        const o = p + 4 * c * plane;
        x[o] = x[q];
        x[o + plane] = x[q + 1];
        x[o + 2 * plane] = x[q + S];
        x[o + 3 * plane] = x[q + S + 1];
      });
    }

    place(from, to, far) {
      const p = from.address + far;
      this.x.copyWithin(to.address + far, p, p + from.C * from.geo.plane);
    }

    unplace(from, to, far) {
      this.place({ ...to, C: from.C }, from, far);
    }

    fork(from, to, far) {
      this.place(from, to, far);
    }

    unfork(from, to, far) {
      // adds: the other branch has come back already
      this.accumulate(to, from, far);
    }

    sum(from, to, far, kept) {
      this.place(from, to, far);
      this.accumulate(kept, to, far);
    }

    unsum(from, to, far, kept) {
      this.place(to, from, far);
      this.place(to, kept, far);
    }

    accumulate(from, to, far) {
      const x = this.x,
        p = from.address + far,
        q = to.address + far;
      for (let i = 0; i < from.C * from.geo.plane; i++) x[q + i] += x[p + i];
    }

    put({ C, geo, address }, values, far) {
      for (let c = 0; c < C; c++) {
        for (let r = 0; r < geo.H; r++) {
          const p = address + far + c * geo.plane + geo.lead + r * geo.S,
            q = (c * geo.H + r) * geo.W;
          for (let s = 0; s < geo.W; s++) this.x[p + s] = values[q + s];
        }
      }
    }

    take({ C, geo, address }, far) {
      const values = new Float32Array(C * geo.H * geo.W);
      for (let c = 0; c < C; c++) {
        for (let r = 0; r < geo.H; r++) {
          const p = address + far + c * geo.plane + geo.lead + r * geo.S;
          values.set(this.x.subarray(p, p + geo.W), (c * geo.H + r) * geo.W);
        }
      }
      return values;
    }

    /** Return the noise that the network sees in `values`, or (far > 0) that it makes of a small change. */
    ahead(values, far) {
      this.put(this.input, values, far);
      for (const { op, from, to, side, relu, ahead, kept } of this.steps) {
        if (op !== "conv") this[op](from, to, far, kept);
        else {
          this.convolve(from, to, ahead, side, far);
          const bytes = 4 * to.C * to.geo.plane,
            p = 4 * (to.address + far);
          if (relu && far) this.kernel.mask(p, 4 * to.address, bytes);
          else if (relu) this.kernel.relu(p, bytes);
          if (!relu || !far) this.clean(to, far);
        }
      }
      return this.take(this.output, far);
    }

    /** Return what `values` at the output pulls back to the input. */
    back(values) {
      const far = this.far;
      this.put(this.output, values, far);
      for (let i = this.steps.length - 1; i >= 0; i--) {
        const { op, from, to, side, relu, back, kept } = this.steps[i];
        if (op !== "conv") this["un" + op](from, to, far, kept);
        else {
          if (relu) this.kernel.mask(4 * (to.address + far), 4 * to.address, 4 * to.C * to.geo.plane);
          this.convolve(to, from, back, side, far);
          this.clean(from, far);
        }
      }
      return this.take(this.input, far);
    }
  }

  /** A denoiser f(y) = y − net(y), or net(y) itself where the file says "direct". */
  class Network {
    constructor(header, weights) {
      this.header = header;
      this.weights = weights;
      this.plans = new Map();
      this.step = 2 ** depthOf(header.layers);
      this.plain = false;
    }

    packed(i, [op, inner, out, side]) {
      const taps = op === "up" ? 1 : side * side,
        wide = op === "up" ? 4 * out : out;
      const w = op === "up" ? asPointwise(this.weights[i], inner, out) : this.weights[i];
      return { ahead: pack(w, wide, inner, taps), back: pack(transpose(w, wide, inner, taps), inner, wide, taps) };
    }

    /** Return the plan for H × W, kept for the two sizes used last. */
    plan(H, W) {
      const key = `${H}×${W}${this.plain ? " plain" : ""}`;
      if (H % this.step || W % this.step || !(H >= this.step) || !(W >= this.step))
        fail(`this network takes images whose sides are multiples of ${this.step}, not ${H} × ${W}`);
      const plan = this.plans.get(key) || new Plan(this, H, W, this.plain);
      this.plans.delete(key);
      this.plans.set(key, plan);
      if (this.plans.size > 2) this.plans.delete(this.plans.keys().next().value);
      return plan;
    }

    /** Return the point at y (C, H, W): the estimate there, and the linear map J. `given`: the low band. */
    at(y, H, W, given = null) {
      return new Point(this, this.plan(H, W), y, given);
    }

    estimate(y, H, W, given = null) {
      return this.at(y, H, W, given).estimate;
    }
  }

  class Point {
    constructor(network, plan, y, given) {
      const { in: inner, out } = network.header.channels,
        size = plan.input.geo.H * plan.input.geo.W;
      this.network = network;
      this.plan = plan;
      this.direct = network.header.estimate === "direct";
      this.told = (inner - out) * size;
      this.size = out * size;
      if (y.length !== this.size) fail(`y must have ${this.size} values, not ${y.length}`);
      if ((given ? given.length : 0) !== this.told)
        fail(`given must have ${this.told} values, not ${given ? given.length : 0}`);
      this.full = new Float32Array(this.told + this.size);
      if (given) this.full.set(given);
      this.full.set(y, this.told);
      plan.owner = this;
      this.estimate = this.combine(y, plan.ahead(this.full, 0));
    }

    combine(v, net) {
      return this.direct ? net : net.map((n, i) => v[i] - n);
    }

    own() {
      // another point may have used the buffers since
      if (this.plan.owner === this) return;
      this.plan.owner = this;
      this.plan.ahead(this.full, 0);
    }

    /** Return J v; a `v` with the low band in front changes that as well. */
    push(v) {
      this.own();
      let full = v;
      if (v.length !== this.full.length) {
        full = new Float32Array(this.full.length);
        full.set(v, this.told);
      }
      return this.combine(full.subarray(this.told), this.plan.ahead(full, this.plan.far));
    }

    /** Return Jᵀu. */
    pull(u) {
      this.own();
      return this.combine(u, this.plan.back(u).subarray(this.told));
    }

    /** Return what u pulls back to y and to the low band that was given, { y, given }. */
    pullBoth(u) {
      this.own();
      const back = this.plan.back(u),
        sign = this.direct ? 1 : -1;
      return { y: this.combine(u, back.subarray(this.told)), given: back.slice(0, this.told).map((v) => sign * v) };
    }

    /** Return S v, S = (J + Jᵀ)/2. */
    symmetric(v) {
      const a = this.push(v),
        b = this.pull(v);
      return a.map((x, i) => 0.5 * (x + b[i]));
    }

    /** Return the row of J that makes pixel i of the estimate: its filter. */
    row(i) {
      const unit = new Float32Array(this.size);
      unit[i] = 1;
      return this.pull(unit);
    }
  }

  return { load, Network, sha256, fromBase64, simd: () => kernelFor(1, false).simd };
}
if (typeof module !== "undefined") module.exports = gahbEngine;
