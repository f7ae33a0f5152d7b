// The convolution of the live networks, in AssemblyScript, with WebAssembly's vectors of four floats.
//
// A plane holds an image row after row with one zero after each row (and a row of zeros above and below), so
// that every tap of a 3×3 kernel is a shift of the whole plane, whatever its width, and vectors may run over
// row ends; what they leave in the zeros is wiped by the caller. Eight neighbours of four channels are summed
// in registers at a time. Built with (the result stands in static/engine.js):
//   asc kernel.ts -O3 --noAssert --runtime stub --importMemory --enable simd --use abort= -o kernel.wasm

/** Write `blocks` × 4 planes: dst = Σ_c w[c] ∗ src[c].
 *  src, dst: address of the first pixel of the first plane; weights: [block][channel in][tap][4];
 *  bytes: length of what is written in a plane, a multiple of 32; row, planeIn, planeOut: distances in bytes;
 *  side: 3 or 1, of the kernel. */
export function conv(
  src: usize, dst: usize, weights: usize, channels: i32, blocks: i32, bytes: usize, row: usize,
  planeIn: usize, planeOut: usize, side: i32,
): void {
  const corner: usize = side == 3 ? row + 4 : 0;
  const size: usize = <usize>channels * <usize>(side * side * 16);
  for (let b = 0; b < blocks; b++) {
    for (let i: usize = 0; i < bytes; i += 32) {
      let a0 = f32x4.splat(0), b0 = a0, c0 = a0, d0 = a0;
      let a1 = a0, b1 = a0, c1 = a0, d1 = a0;
      let w = weights;
      let p = src + i - corner;
      for (let c = 0; c < channels; c++) {
        let q = p;
        for (let r = 0; r < side; r++) {
          let t = q;
          for (let s = 0; s < side; s++) {
            const x0 = v128.load(t), x1 = v128.load(t, 16);
            let k = v128.load32_splat(w);
            a0 = f32x4.add(a0, f32x4.mul(k, x0));
            a1 = f32x4.add(a1, f32x4.mul(k, x1));
            k = v128.load32_splat(w, 4);
            b0 = f32x4.add(b0, f32x4.mul(k, x0));
            b1 = f32x4.add(b1, f32x4.mul(k, x1));
            k = v128.load32_splat(w, 8);
            c0 = f32x4.add(c0, f32x4.mul(k, x0));
            c1 = f32x4.add(c1, f32x4.mul(k, x1));
            k = v128.load32_splat(w, 12);
            d0 = f32x4.add(d0, f32x4.mul(k, x0));
            d1 = f32x4.add(d1, f32x4.mul(k, x1));
            w += 16;
            t += 4;
          }
          q += row;
        }
        p += planeIn;
      }
      let o = dst + i;
      v128.store(o, a0);
      v128.store(o, a1, 16);
      o += planeOut;
      v128.store(o, b0);
      v128.store(o, b1, 16);
      o += planeOut;
      v128.store(o, c0);
      v128.store(o, c1, 16);
      o += planeOut;
      v128.store(o, d0);
      v128.store(o, d1, 16);
    }
    weights += size;
    dst += 4 * planeOut;
  }
}

/** Set to zero what is negative, in `bytes` (a multiple of 16) from `p`. */
export function relu(p: usize, bytes: usize): void {
  const zero = f32x4.splat(0);
  for (const end = p + bytes; p < end; p += 16) v128.store(p, f32x4.max(zero, v128.load(p)));
}

/** Set to zero what stands at `p` where what stands at `open` is not positive. */
export function mask(p: usize, open: usize, bytes: usize): void {
  const zero = f32x4.splat(0);
  for (const end = p + bytes; p < end; p += 16, open += 16) {
    v128.store(p, v128.and(v128.load(p), f32x4.gt(v128.load(open), zero)));
  }
}
