"use strict";
// The page is whole without scripts. They add: a theme switch, sorting, a filter by axis that the address keeps, and for each trial
// a table row with a drawing. The address is #AXIS=VALUE,VALUE&AXIS=VALUE&TARGET; TARGET is a section, c12 or c12.t17.
var run = JSON.parse(document.getElementById("run").textContent);
var outcomes = ["direct", "relayed", "failed", "unsupported", "harness-error"], letters = "DRFUH";

function make(tag, attributes, children) {
  var el = document.createElement(tag);
  Object.keys(attributes || {}).forEach(function (k) {
    if (attributes[k] === true) { el.setAttribute(k, ""); } else if (attributes[k] !== false && attributes[k] != null) { el.setAttribute(k, attributes[k]); }
  });
  [].concat(children == null ? [] : children).forEach(function (c) { el.append(c); });
  return el;
}

function count(n) { return String(n).replace(/\B(?=(\d{3})+$)/g, ","); }

// The address.
var address = { filter: {}, target: "" };

function readAddress() {
  address = { filter: {}, target: "" };
  location.hash.slice(1).split("&").filter(Boolean).forEach(function (part) {
    var at = part.indexOf("=");
    try {
      if (at < 0) { address.target = decodeURIComponent(part); return; }
      var axis = run.axes.find(function (a) { return a.key === decodeURIComponent(part.slice(0, at)); });
      var values = part.slice(at + 1).split(",").map(decodeURIComponent);
      values = axis ? axis.values.filter(function (v) { return values.includes(v); }) : [];
      if (values.length > 0 && values.length < axis.values.length) { address.filter[axis.key] = values; }
    } catch (e) { /* an address cut short by whoever copied it: what can be read of it counts */ }
  });
}

function hashOf(filter, target) {
  var parts = Object.keys(filter).map(function (k) { return encodeURIComponent(k) + "=" + filter[k].map(encodeURIComponent).join(","); });
  return "#" + parts.concat(target ? [encodeURIComponent(target)] : []).join("&");
}

// go opens what the address points to.
function go() {
  var name = address.target, trial = /^(c\d+)\.t/.exec(name);
  var el = name && document.getElementById(trial ? trial[1] : name), box = el && el.closest("details");
  if (!el) { return; }
  if (box) {
    box.open = true;
    openCell(box);
    if (trial) { el = openTrial(box, name.slice(trial[0].length)) || el; } else { el = box; }
  }
  el.scrollIntoView();
  var focus = el.matches("details") ? el.querySelector("summary") : el.querySelector("button, h2");
  if (focus) {
    if (focus.tagName === "H2") { focus.tabIndex = -1; }
    focus.focus({ preventScroll: true });
  }
}

addEventListener("hashchange", function () { readAddress(); showFilter(); go(); });
addEventListener("click", function (e) {
  var a = e.target.closest && e.target.closest("a[href^='#']");
  if (!a || e.ctrlKey || e.metaKey || e.shiftKey || e.button > 0) { return; }
  e.preventDefault();
  var hash = hashOf(address.filter, decodeURIComponent(a.getAttribute("href").slice(1)));
  if (location.hash === hash) { go(); } else { location.hash = hash; }
});

// The theme.
(function () {
  var root = document.documentElement, button = document.getElementById("theme");
  button.hidden = false;
  button.onclick = function () {
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  };
})();

// Sorting of the table of cells.
(function () {
  var table = document.getElementById("cells-table"), body = table && table.tBodies[0];
  if (!body) { return; }
  var rows = Array.from(body.rows);
  var units = { "µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9 };
  function key(text) {
    var m = /^[<>] ?([\d.,]+)|^([\d.,]+)\D*?(µs|ms|s|min|kB|MB|GB|B)?(\s|$|×|%)/.exec(text);
    return m ? parseFloat((m[1] || m[2]).replace(/,/g, "")) * (units[m[3]] || 1) : text === "–" || text === "few" ? -1 : text;
  }
  Array.from(table.tHead.rows[0].cells).forEach(function (th, i) {
    var up = true, knob = make("button", { type: "button" });
    knob.append(...th.childNodes);
    th.append(knob);
    knob.onclick = function () {
      Array.from(table.tHead.rows[0].cells).forEach(function (o) { o.removeAttribute("aria-sort"); });
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      var keyed = rows.map(function (r) { return [key(r.cells[i].textContent.trim()), r]; });
      keyed.sort(function (a, b) { return (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0) * (up ? 1 : -1); });
      keyed.forEach(function (k) { body.appendChild(k[1]); });
      up = !up;
    };
  });
})();
