// Loaded between require.js and embed-amd.js: every module comes from this folder, none from a CDN.
(function () {
  const here = document.documentElement.dataset.content_root + "_static/vendor/widgets/";
  requirejs.config({
    paths: {
      "@jupyter-widgets/html-manager": here + "embed-amd",
      "@jupyter-widgets/html-manager/dist/libembed-amd": here + "embed-amd",
    },
  });
  // The labels of ipywidgets call MathJax 2's queue; MathJax 3 typesets through a promise.
  window.MathJax = window.MathJax || {};
  window.MathJax.Hub = {
    Queue: function (call) {
      const element = call[2];
      const ready = window.MathJax.startup && window.MathJax.startup.promise;
      if (ready) ready.then(() => window.MathJax.typesetPromise([element]));
    },
  };
})();
