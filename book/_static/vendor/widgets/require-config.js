// Loaded between require.js and embed-amd.js: every module comes from this folder, none from a CDN.
(function () {
  const here = document.documentElement.dataset.content_root + "_static/vendor/widgets/";
  requirejs.config({
    paths: {
      "@jupyter-widgets/html-manager": here + "embed-amd",
      "@jupyter-widgets/html-manager/dist/libembed-amd": here + "embed-amd",
    },
  });
})();

// The labels of ipywidgets call MathJax 2's queue; MathJax 3, which has replaced window.MathJax by now
// (it is deferred, and the widgets wait for the load event), typesets through a promise.
document.addEventListener("DOMContentLoaded", () => {
  const mathjax = window.MathJax;
  if (!mathjax) return;
  mathjax.Hub = {
    Queue: ([, , element]) => mathjax.startup.promise.then(() => mathjax.typesetPromise([element])),
  };
});
