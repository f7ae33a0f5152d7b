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
