// Before the theme's icons: they would turn the <i> of a Play button into an SVG, and the button dies.
window.FontAwesomeConfig = { observeMutations: false };

// A slider handle says what it moves: the text of the label beside it.
function nameHandles(root) {
  root.querySelectorAll(".widget-slider, .jupyter-widget-slider").forEach((slider) => {
    const label = slider.querySelector(".widget-label");
    const readout = slider.querySelector(".widget-readout");
    slider.querySelectorAll("[role=slider]").forEach((handle) => {
      if (label && !handle.hasAttribute("aria-label")) {
        handle.setAttribute("aria-label", label.textContent);
      }
      if (readout && handle.getAttribute("aria-valuetext") !== readout.textContent) {
        handle.setAttribute("aria-valuetext", readout.textContent);
      }
    });
  });
}

document.addEventListener("DOMContentLoaded", () => {
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      nameHandles(document);
    });
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
});
