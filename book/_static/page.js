// The figures of a page move without a kernel: one listener serves them all, from the moment that
// their HTML is parsed. A figure holds its pictures in the order of the controls' values.
"use strict";
document.documentElement.classList.add("gahb-script");

// Return [index, how many values] of a control: a slider, or one button of several.
function standing(control) {
  const input = control.querySelector("input[type=range], input:checked");
  const buttons = control.querySelectorAll("input[type=radio]").length;
  return [Number(input.value), buttons || Number(input.max) + 1];
}

// Set a control to its index-th value.
function move(control, index) {
  const slider = control.querySelector("input[type=range]");
  if (slider) slider.value = index;
  else control.querySelectorAll("input[type=radio]")[index].checked = true;
}

// Show the picture of where the controls of a figure stand, and say each slider's value.
function turn(figure) {
  let shown = 0;
  for (const control of figure.querySelectorAll(".gahb-control")) {
    const [index, size] = standing(control);
    shown = shown * size + index;
    const slider = control.querySelector("input[type=range]");
    if (!slider) continue;
    const value = JSON.parse(slider.dataset.values)[index];
    slider.setAttribute("aria-valuetext", value);
    control.querySelector(".gahb-value").textContent = value;
  }
  [...figure.querySelectorAll(".gahb-frames > img")].forEach((img, i) => (img.hidden = i !== shown));
}

// A page that comes back from the browser's memory may find its controls reset without an event, and only then.
addEventListener("pageshow", (event) => {
  if (event.persisted) setTimeout(() => document.querySelectorAll(".gahb-explore").forEach(turn));
});

const playing = new Map(); // button → timer

function stop(button) {
  clearInterval(playing.get(button));
  playing.delete(button);
  button.querySelector(".gahb-motion").textContent = "Play";
}

// Move the control of a play button on by one value; say whether it can go on from there.
function step(button) {
  const control = button.closest(".gahb-control");
  const [index, size] = standing(control);
  const next = index + 1 < size ? index + 1 : 0;
  move(control, next);
  turn(control.closest(".gahb-explore"));
  return next < size - 1;
}

document.addEventListener("input", (event) => {
  const figure = event.target.closest(".gahb-explore");
  if (!figure) return;
  figure.querySelectorAll(".gahb-play").forEach((button) => playing.has(button) && stop(button));
  turn(figure);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest(".gahb-play");
  if (!button) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (playing.has(button)) stop(button);
  else if (step(button) && !still) {
    const tick = () => step(button) || stop(button);
    playing.set(button, setInterval(tick, Number(button.dataset.interval)));
    button.querySelector(".gahb-motion").textContent = "Pause";
  }
});

const SCROLLING = "div.math, .gahb-long, .gahb-frames, .gahb-wide, .pst-scrollable-table-container";

// A formula within a line that is wider than its text scrolls by itself; in a table, the table does.
function hold() {
  const held = [...document.querySelectorAll(".bd-article .gahb-long")];
  held.forEach((formula) => formula.classList.remove("gahb-long"));
  const inline = ".bd-article mjx-container:not([display]):not(div.math *):not(table *)";
  const wide = [...document.querySelectorAll(inline)].filter((formula) => {
    const block = formula.closest("p, li, dd, dt, figcaption, summary, h1, h2, h3, h4, div");
    return block && formula.getBoundingClientRect().width > block.clientWidth + 1;
  });
  wide.forEach((formula) => formula.classList.add("gahb-long"));
  held.filter((formula) => !wide.includes(formula)).forEach((formula) => {
    for (const key of ["tabindex", "role", "aria-label"]) formula.removeAttribute(key);
  });
}

// What scrolls can be reached with Tab, and only that.
function reach() {
  hold();
  document.querySelectorAll(SCROLLING).forEach((box) => {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    const name = box.matches(".math, .gahb-long") ? "formula" : box.matches(".gahb-frames") ? "figure" : "table";
    const said = { tabindex: "0", role: "group", "aria-label": name };
    for (const [key, value] of Object.entries(said)) {
      if (scrolls) box.setAttribute(key, value);
      else box.removeAttribute(key);
    }
  });
}

document.addEventListener("DOMContentLoaded", () => {
  // tables scroll by themselves
  document.querySelectorAll(".bd-article table").forEach((table) => {
    if (table.closest(".gahb-wide, .pst-scrollable-table-container")) return;
    const box = document.createElement("div");
    box.className = "gahb-wide";
    table.replaceWith(box);
    box.append(table);
  });
  // what unfolds a chapter's pages in the sidebar is named after the chapter
  document.querySelectorAll("summary > .toctree-toggle").forEach((toggle) => {
    const summary = toggle.parentElement;
    const chapter = summary.closest("li")?.querySelector("a")?.textContent.trim();
    summary.setAttribute("aria-label", `Pages of ${chapter}`);
  });
  // the theme's sidebar is a part of the page, and its search button is called by what it shows
  const sidebar = document.getElementById("pst-primary-sidebar");
  sidebar?.setAttribute("role", "complementary");
  sidebar?.setAttribute("aria-label", "Book");
  document.querySelectorAll(".search-button-field").forEach((b) => b.removeAttribute("aria-label"));
  // from a file, the search shows its results without extracts: a page may not read the others
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  reach();
});
// what is in them grows: by a style sheet, a formula that is set, a font that comes
document.fonts.addEventListener("loadingdone", reach);
window.addEventListener("load", () => {
  reach();
  window.MathJax?.startup?.promise?.then(reach);
});
window.addEventListener("resize", reach);
