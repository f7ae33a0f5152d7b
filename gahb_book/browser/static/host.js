// What every live figure of a page shares: one worker with one copy of each network, the files of the networks,
// and small tools to draw. In a rendered page it is a classic script; in a notebook, part of a widget's module.
"use strict";

/** The worker: answers { id, kind, args } with { id, result } or { id, error }, long work with { id, progress } on
 *  the way; { id, stop } ends it within a step. Jobs take turns. */
function gahbWorker(engine, methods, port) {
  const networks = new Map(),
    points = new Map(),
    sets = new Map(),
    stopped = new Set();
  const BREATH = 12,
    PICTURE = 50; // milliseconds between looks at the mail, and between pictures

  const same = (a, b) => a === b || (a && b && a.length === b.length && a.every((x, i) => x === b[i]));

  function network(name) {
    return (
      networks.get(name) ||
      (() => {
        throw new Error(`network ${name} has not been loaded`);
      })()
    );
  }

  /** Return the point at y, the last one again where nothing changed. */
  function pointAt({ net, y, H, W, given = null }) {
    const last = points.get(net);
    if (last && last.H === H && last.W === W && same(last.y, y) && same(last.given, given)) return last.point;
    const point = network(net).at(y, H, W, given);
    points.set(net, { y, H, W, given, point });
    return point;
  }

  /** Return (y, σ) → estimate: of a network, or the exact one of a set of images; with measurements, if any. */
  function denoiser({ net, set, H, W, given = null, measured = null }) {
    const meet = measured ? methods.impose(measured) : (x) => x;
    const f = set ? methods.memory(sets.get(set)) : (y) => network(net).estimate(y, H, W, given);
    return (y, sigma) => meet(f(y, sigma));
  }

  const jobs = {
    load({ header, data, name, plain }) {
      if (!networks.has(name)) networks.set(name, engine.load(header, data, name));
      if (plain !== undefined) networks.get(name).plain = plain;
      const { channels, layers, estimate } = networks.get(name).header;
      return { name, channels, layers, estimate, step: networks.get(name).step, simd: engine.simd() };
    },
    keep({ set, images }) {
      sets.set(set, images);
      return images.length;
    },
    loaded: () => [...networks.keys()],
    denoise: (args) => ({ estimate: args.set ? denoiser(args)(args.y, args.sigma) : pointAt(args).estimate }),
    closest: ({ set, y, count }) => methods.closest(sets.get(set).slice(0, count), y),
    push: (args) => pointAt(args).push(args.v),
    pull: (args) => pointAt(args).pull(args.u),
    filter: (args) => pointAt(args).row(args.pixel),
    eigenpairs: (args) => methods.eigenpairs(pointAt(args), args),
    trace: (args) => methods.estimateTrace(pointAt(args), args),
    *ascend(args) {
      const draws = args.draws ? (t) => args.draws[t] : null;
      for (const step of methods.ascend(denoiser(args), args.y, { ...args, draws })) {
        yield { ...step, wait: args.pace || 0 };
      }
    },
    coarseToFine({ low, details, y, H, W, pixel = null }) {
      // with the filter of a pixel, if one is asked for
      const at =
        (net) =>
        (values, h, w, given = null) =>
          pointAt({ net, y: values, H: h, W: w, given });
      const { estimate, pull } = methods.coarseToFine(y, H, W, at(low), details.map(at));
      return { estimate, filter: pixel === null ? null : pull(estimate.map((_, i) => Number(i === pixel))) };
    },
    haarSplit: ({ x, H, W }) => methods.haarSplit(x, H, W),
    haarMerge: ({ low, details, H, W }) => methods.haarMerge(low, details, H, W),
    time({ count, ...args }) {
      const times = [];
      for (let i = 0; i < count; i++) {
        const start = performance.now();
        network(args.net).at(args.y, args.H, args.W, args.given);
        times.push(performance.now() - start);
      }
      return times;
    },
  };

  const channel = new MessageChannel(),
    waiting = [];
  channel.port1.onmessage = () => waiting.shift()();
  const breathe = (pause) =>
    new Promise((done) => {
      if (pause > 0) setTimeout(done, pause);
      else {
        waiting.push(done);
        channel.port2.postMessage(0);
      }
    });

  async function run(id, steps) {
    let result,
      breath = performance.now(),
      shown = -Infinity,
      last = performance.now();
    for (const step of steps) {
      const now = performance.now();
      if (step) {
        result = step;
        if (now - shown > PICTURE) {
          port.postMessage({ id, progress: step });
          shown = now;
        }
      }
      const pause = step && step.wait ? step.wait - (now - last) : 0;
      if (pause > 0 || now - breath > BREATH) {
        await breathe(pause);
        breath = performance.now();
        if (stopped.has(id)) return { ...result, stopped: true };
      }
      if (step) last = performance.now();
    }
    return result;
  }

  port.onmessage = async ({ data: { id, kind, args, stop } }) => {
    if (stop) {
      stopped.add(id);
      return;
    }
    try {
      const answer = jobs[kind](args);
      const long = answer && typeof answer.next === "function";
      port.postMessage({ id, result: long ? await run(id, answer) : answer });
    } catch (error) {
      port.postMessage({ id, error: error.message });
    }
    stopped.delete(id);
  };
}

(function () {
  const GAHB = /** @type {any} */ (globalThis.GAHB = globalThis.GAHB || {});
  if (GAHB.call) return; // another figure of the page brought it
  GAHB.figures = GAHB.figures || {};

  // --- the worker ----------------------------------------------------------------------------

  const calls = new Map(),
    networks = new Map();
  let worker = null,
    count = 0;

  function startWorker() {
    const source = `"use strict";(${gahbWorker})((${gahbEngine})(), (${gahbMethods})(), self);`;
    const started = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    started.onmessage = ({ data: { id, result, error, progress } }) => {
      const call = calls.get(id);
      if (!call) return;
      if (progress) {
        if (call.onProgress) call.onProgress(progress);
        return;
      }
      calls.delete(id);
      if (error === undefined) call.resolve(result);
      else call.reject(new Error(error));
    };
    started.onerror = (event) => {
      for (const call of calls.values()) call.reject(new Error(`the worker ended: ${event.message}`));
      calls.clear();
      networks.clear();
      worker = null;
    };
    return started;
  }

  /** Return a promise of the worker's answer; its `stop()` ends long work, which then answers { stopped: true }. */
  GAHB.call = function (kind, args = {}, onProgress = null) {
    worker = worker || startWorker();
    const id = ++count,
      promise = /** @type {any} */ (new Promise((resolve, reject) => calls.set(id, { resolve, reject, onProgress })));
    worker.postMessage({ id, kind, args });
    promise.stop = () => worker && worker.postMessage({ id, stop: true });
    return promise;
  };

  // --- the files of networks -------------------------------------------------------------------

  /** Called by a network's script. */
  GAHB.receive = function (header, data) {
    const script = /** @type {any} */ (document.currentScript);
    if (script && script.received) script.received({ header, data });
  };

  GAHB.root = () => document.documentElement.dataset.content_root || "./";

  function addScript(path, received) {
    return new Promise((resolve, reject) => {
      const script = Object.assign(document.createElement("script"), {
        src: GAHB.root() + path,
        received,
        onload: resolve,
      });
      script.onerror = () => reject(new Error(`the file ${path} is missing`));
      document.head.append(script);
    });
  }

  GAHB.readFile = async function (file) {
    let content = null;
    await addScript(`_static/networks/${file}`, (found) => (content = found));
    if (!content) throw new Error(`the file _static/networks/${file} holds nothing`);
    return content;
  };

  /** Fetch engine and methods, which wait for the first use; in a notebook they stand in the same module. */
  let library = null;
  GAHB.library = function () {
    const add = (name) => addScript(`_static/live/${name}.js`);
    library =
      library || (typeof gahbEngine === "function" ? Promise.resolve() : Promise.all([add("engine"), add("methods")]));
    library.catch(() => (library = null));
    return library.then(() => (GAHB.methods = GAHB.methods || gahbMethods()));
  };

  /** Return a promise of a network in the worker: read once a page, from `fetch(name)` or its script `file`. */
  GAHB.network = function ({ name, file }, fetch = null) {
    if (!networks.has(name)) {
      const read = () => (fetch ? fetch(name) : GAHB.readFile(file));
      const loading = GAHB.library()
        .then(read)
        .then((content) => GAHB.call("load", { ...content, name }));
      networks.set(name, loading);
      loading.catch(() => networks.delete(name)); // the next try may find it
    }
    return networks.get(name);
  };

  // --- drawing -------------------------------------------------------------------------------

  /** Return an element with properties, attributes (with a dash, or `role`) and children. */
  GAHB.element = function (kind, properties = {}, ...children) {
    const made = document.createElement(kind);
    for (const [key, value] of Object.entries(properties)) {
      if (key.includes("-") || ["role", "for", "style"].includes(key)) made.setAttribute(key, value);
      else made[key] = value;
    }
    made.append(...children);
    return made;
  };

  const NEGATIVE = [0, 84, 147],
    POSITIVE = [188, 70, 0];

  /** Return the size below which 98 of 100 values lie: the full colour of a signed picture. */
  GAHB.scaleOf = (values) =>
    Math.max(1e-12, Float32Array.from(values, Math.abs).sort()[Math.floor(0.98 * (values.length - 1))]);

  /** Paint values (H × W) on a canvas: grey from 0 to 1, or, with `signed`, blue to red around white at 0. */
  GAHB.paint = function (canvas, values, H, W, signed = false, scale = 0) {
    if (canvas.width !== W || canvas.height !== H) Object.assign(canvas, { width: W, height: H });
    const picture = new ImageData(W, H),
      bytes = picture.data,
      most = signed ? scale || GAHB.scaleOf(values) : 1;
    for (let i = 0, p = 0; i < H * W; i++, p += 4) {
      const v = values[i] / most,
        end = v < 0 ? NEGATIVE : POSITIVE,
        t = Math.min(1, Math.abs(v));
      for (let k = 0; k < 3; k++) bytes[p + k] = signed ? 255 + (end[k] - 255) * t : 255 * v; // clamped by its kind
      bytes[p + 3] = 255;
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
  };

  /** Return images in [0, 1] from bytes in base64, `size` pixels each. */
  GAHB.images = function (text, size) {
    const raw = atob(text);
    return Array.from({ length: raw.length / size }, (_, n) =>
      Float32Array.from({ length: size }, (_, i) => raw.charCodeAt(n * size + i) / 255),
    );
  };

  /** Return a titled canvas: { box, canvas, title, value, show(values, H, W, signed) }. */
  GAHB.panel = function (name, text, more = {}) {
    const { element } = GAHB;
    const canvas = element("canvas", { className: "gahb-live-pixels", role: "img", "aria-label": text, ...more });
    const title = element("span", { className: "gahb-live-title", textContent: name });
    const value = element("span", { className: "gahb-live-value" });
    const show = (values, H, W, signed = false) => {
      canvas.dataset.live = "yes";
      GAHB.paint(canvas, values, H, W, signed);
    };
    return {
      canvas,
      title,
      value,
      show,
      box: element("div", { className: "gahb-live-panel" }, canvas, element("div", {}, title, value)),
    };
  };

  GAHB.group = (label, ...items) =>
    GAHB.element(
      "div",
      { className: "gahb-live-group", role: "group", "aria-label": label },
      GAHB.element("span", { className: "gahb-live-title", textContent: label }),
      ...items,
    );

  GAHB.mark = (buttons, chosen) => buttons.forEach((b) => b.setAttribute("aria-pressed", b === chosen));

  /** Return buttons of which one is chosen: their names, the index chosen first, and what a choice does. */
  GAHB.choice = function (names, first, onChoose) {
    const buttons = names.map((name, i) =>
      GAHB.button(name, () => {
        GAHB.mark(buttons, buttons[i]);
        onChoose(i);
      }),
    );
    GAHB.mark(buttons, buttons[first]);
    return buttons;
  };

  /** Return a slider with its name and value, calling `onInput(value)`. */
  GAHB.slider = function ({ label, min, max, step, value, show = (v) => v, onInput }) {
    const { element } = GAHB;
    const input = element("input", { type: "range", min, max, step, value, "aria-label": label });
    const output = element("output", { textContent: show(value) });
    const tell = () => {
      input.dataset.told = input.value;
      output.textContent = show(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => {
      tell();
      onInput(Number(input.value));
    });
    tell();
    const box = element(
      "label",
      { className: "gahb-live-slider" },
      element("span", { textContent: label }),
      input,
      output,
    );
    return Object.assign(box, { input, tell });
  };

  GAHB.button = function (label, onClick, more = {}) {
    const made = GAHB.element("button", { type: "button", textContent: label, ...more });
    made.addEventListener("click", onClick);
    return made;
  };

  // A page that comes back from the browser's memory may find its sliders moved, without a word.
  addEventListener(
    "pageshow",
    (event) =>
      event.persisted &&
      setTimeout(() => {
        for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (
          document.querySelectorAll(".gahb-live-slider input")
        )) {
          if (input.value !== input.dataset.told) input.dispatchEvent(new Event("input", { bubbles: true }));
        }
      }),
  );

  /**
   * Return the button that starts long work and stops it, with the owner of that work. One run at a time, from the
   * click on: `work(run)` begins what it computes with `run.call`, and waits with `run.ready(promise)`, which goes on
   * only where the run has not been stopped, or `run.owned(promise)`, which goes on unless the figure belongs to
   * something newer. `begin` ends the run under way and starts one; `stop` lets it end where it stands; `end` takes
   * the figure from it: nothing that it computed is shown any more. `onChange(running)` hears of both.
   */
  GAHB.runs = function (label, say, work, onChange = (/** @type {boolean} */ _) => {}) {
    let current = null;
    const over = {}; // thrown through `work`
    const set = (run) => {
      current = run;
      button.textContent = run ? "stop" : label;
      onChange(Boolean(run));
    };
    const halt = (run) => {
      run.halted = true;
      run.jobs.forEach((job) => job.stop());
    };
    const owns = (run) => current === run;
    const check = (run, going) => {
      if (!owns(run) || (going && run.halted)) throw over;
    };
    const made = () => {
      const run = { jobs: [], halted: false, owns: () => owns(run) };
      run.call = (kind, args, onProgress) => {
        const job = GAHB.call(kind, args, onProgress && ((step) => owns(run) && onProgress(step)));
        run.jobs.push(job);
        return job;
      };
      run.ready = (promise) => promise.finally(() => check(run, true));
      run.owned = (promise) => promise.finally(() => check(run, false));
      return run;
    };
    const end = () => {
      if (!current) return;
      halt(current);
      set(null);
    };
    const begin = async () => {
      end();
      const run = made();
      set(run);
      try {
        await work(run);
      } catch (error) {
        if (error !== over && owns(run)) say(`The figure keeps its picture: ${error.message}.`);
      }
      if (owns(run)) set(null);
    };
    const stop = () => current && halt(current);
    // the second click of a double click is no wish to stop
    const button = GAHB.button(label, (event) => event.detail > 1 || (current ? stop() : begin()), {
      className: "gahb-live-main",
      "data-widest": label,
    });
    return { button, begin, stop, end, running: () => current !== null };
  };

  /** Cut the picture made beforehand into canvases: [canvas, left, top, width, height] in its own pixels. */
  GAHB.cut = function (picture, parts) {
    const draw = () => {
      for (const [canvas, left, top, width, height] of parts) {
        if (canvas.dataset.live) continue;
        Object.assign(canvas, { width, height });
        canvas.getContext("2d").drawImage(picture, left, top, width, height, 0, 0, width, height);
      }
    };
    if (picture.complete) draw();
    else picture.addEventListener("load", draw);
  };

  /** Make a figure live: `box` holds its picture and its data. A figure that fails keeps its picture. */
  GAHB.start = function (box, fetch = null) {
    if (box.dataset.started) return;
    box.dataset.started = "yes";
    const data = JSON.parse(box.querySelector(".gahb-live-data").textContent);
    const note = box.querySelector(".gahb-live-said"),
      say = (text) => (note.textContent = text || "");
    let waiting = 0;
    const network = async (item) => {
      const loading = GAHB.network(item, fetch);
      if (await Promise.race([loading, null])) return loading;
      waiting++;
      say("Loading a network …");
      try {
        return await loading;
      } finally {
        if (!--waiting) say("");
      }
    };
    try {
      GAHB.figures[box.dataset.figure](box, data, { say, network, imageSet: (item) => GAHB.imageSet(item, fetch) });
    } catch (error) {
      say(`This figure stands still here: ${error.message}.`);
      throw error;
    }
  };
})();
