"use strict";
// The page is whole without this: it adds a theme switch, a filter and sorting, and opens the cell a link points to.
(function () {
  var root = document.documentElement, button = document.getElementById("theme");
  button.hidden = false;
  button.onclick = function () {
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  };
  function open() {
    var el = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    var box = el && el.closest("details");
    if (box) { box.open = true; box.scrollIntoView(); }
  }
  addEventListener("hashchange", open);
  open();
  var table = document.getElementById("cells-table"), body = table && table.tBodies[0];
  if (!body) { return; }
  var rows = Array.from(body.rows), filter = document.getElementById("filter"), out = document.getElementById("filter-count");
  document.getElementById("filter-box").hidden = false;
  filter.oninput = function () {
    var words = filter.value.toLowerCase().split(/\s+/).filter(Boolean), shown = 0;
    rows.forEach(function (r) {
      var cells = Array.from(r.cells).map(function (c) { return c.textContent.trim().toLowerCase(); });
      var ok = words.every(function (w) { return cells.some(function (c) { return c.startsWith(w); }); });
      r.hidden = !ok;
      if (ok) { shown++; }
    });
    out.textContent = words.length ? shown + " of " + rows.length : "";
  };
  var units = { "µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9 };
  function key(text) {
    var m = /^[<>] ?([\d.,]+)|^([\d.,]+)\D*?(µs|ms|s|min|kB|MB|GB|B)?(\s|$|×|%)/.exec(text);
    return m ? parseFloat((m[1] || m[2]).replace(/,/g, "")) * (units[m[3]] || 1) : text === "–" || text === "few" ? -1 : text;
  }
  Array.from(table.tHead.rows[0].cells).forEach(function (th, i) {
    var up = true;
    var knob = document.createElement("button");
    knob.type = "button";
    knob.append(...th.childNodes);
    th.append(knob);
    function sort() {
      Array.from(table.tHead.rows[0].cells).forEach(function (o) { o.removeAttribute("aria-sort"); });
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      var keyed = rows.map(function (r) { return [key(r.cells[i].textContent.trim()), r]; });
      keyed.sort(function (a, b) { return (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0) * (up ? 1 : -1); });
      keyed.forEach(function (k) { body.appendChild(k[1]); });
      up = !up;
    }
    knob.onclick = sort;
  });
})();
