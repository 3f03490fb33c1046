// The filter: a box of checkboxes for each axis. It narrows matrices, cells and trials; nothing ticked is everything.
var words = [];

function shown(cell) {
  var c = run.cells[cell];
  return !c || run.axes.every(function (a, i) { return !address.filter[a.key] || address.filter[a.key].includes(a.values[c.values[i]]); });
}

// wilson is the 95 % interval of k of n, in percent.
function wilson(k, n) {
  var z = 1.959963984540054, p = k / n, mid = p + z * z / (2 * n), half = z * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)), d = 1 + z * z / n;
  return [k === 0 ? 0 : 100 * (mid - half) / d, k === n ? 100 : 100 * (mid + half) / d].map(function (v) { return +v.toFixed(1); });
}

// filterText sums up the cells shown.
function filterText() {
  var all = Object.keys(run.cells), some = all.filter(shown), sum = [0, 0, 0, 0, 0];
  some.forEach(function (i) { run.cells[i].n.forEach(function (n, o) { sum[o] += n; }); });
  var judged = sum[0] + sum[1] + sum[2] + sum[3], text = some.length === all.length ? "All " + count(all.length) + " cells" : count(some.length) + " of " + count(all.length) + " cells";
  text += ": " + count(judged) + " trials with a verdict";
  if (judged > 0) {
    var w = wilson(sum[0], judged);
    text += ", " + +(100 * sum[0] / judged).toFixed(1) + " % direct (95 % interval " + w[0] + "–" + w[1] + " %)";
    [1, 2, 3].forEach(function (o) { if (sum[o]) { text += ", " + count(sum[o]) + " " + outcomes[o]; } });
  }
  if (sum[4]) { text += ", beside " + count(sum[4]) + " harness errors"; }
  return text + (some.length < all.length ? ". The curves and the tables of strategies are of all cells." : ".");
}

function filterTable(table) {
  var rows = Array.from(table.tBodies[0].rows), some = false, columns = {};
  rows.forEach(function (r) {
    var any = false;
    Array.from(r.cells).forEach(function (td, i) {
      if (!td.dataset.cell) { return; }
      var ok = shown(td.dataset.cell);
      td.classList.toggle("out", !ok);
      any = any || ok;
      columns[i] = columns[i] || ok;
    });
    r.hidden = !any;
    some = some || any;
  });
  rows.concat(table.tHead ? Array.from(table.tHead.rows) : []).forEach(function (r) {
    Array.from(r.cells).forEach(function (td, i) { if (i > 0 || td.dataset.cell) { td.hidden = columns[i] !== true; } });
  });
  return some;
}

function showFilter() {
  Array.from(document.querySelectorAll("#filter-form input")).forEach(function (box) {
    box.checked = (address.filter[box.name] || []).includes(box.value);
  });
  Array.from(document.querySelectorAll("figure.matrix")).forEach(function (f) { f.hidden = !filterTable(f.querySelector("table")); });
  Array.from(document.querySelectorAll("details.cell")).forEach(function (d) { d.hidden = !shown(d.dataset.cell); });
  var table = document.getElementById("cells-table"), rows = table ? Array.from(table.tBodies[0].rows) : [], left = 0;
  rows.forEach(function (r) {
    var texts = words.length && Array.from(r.cells).map(function (c) { return c.textContent.trim().toLowerCase(); });
    r.hidden = !shown(r.dataset.cell) || !words.every(function (w) { return texts.some(function (t) { return t.startsWith(w); }); });
    left += r.hidden ? 0 : 1;
  });
  document.getElementById("words-count").textContent = words.length ? left + " of " + rows.length : "";
  document.getElementById("filter-says").textContent = filterText();
  document.getElementById("filter-all").hidden = Object.keys(address.filter).length === 0;
}

(function () {
  var form = document.getElementById("filter-form");
  run.axes.forEach(function (a) {
    form.append(make("fieldset", {}, [make("legend", {}, a.key)].concat(a.values.map(function (v) {
      return make("label", {}, [make("input", { type: "checkbox", name: a.key, value: v }), " " + v]);
    }))));
  });
  document.getElementById("filter").hidden = run.axes.length === 0;
  form.addEventListener("change", function () {
    address.filter = {};
    run.axes.forEach(function (a) {
      var on = Array.from(form.querySelectorAll("input:checked")).filter(function (b) { return b.name === a.key; }).map(function (b) { return b.value; });
      if (on.length > 0 && on.length < a.values.length) { address.filter[a.key] = on; }
    });
    var target = address.target;
    history.replaceState(null, "", Object.keys(address.filter).length || target ? hashOf(address.filter, target) : location.pathname + location.search);
    showChecked(form);
  });
  // showChecked keeps the boxes as they were ticked: all of an axis is the same as none, and both may be meant.
  function showChecked(form) {
    var on = Array.from(form.querySelectorAll("input:checked"));
    showFilter();
    on.forEach(function (b) { b.checked = true; });
  }
  document.getElementById("filter-all").onclick = function () {
    address.filter = {};
    history.replaceState(null, "", address.target ? hashOf({}, address.target) : location.pathname + location.search);
    showFilter();
    form.querySelector("input").focus();
  };
  var input = document.getElementById("words");
  document.getElementById("words-box").hidden = false;
  input.oninput = function () {
    words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    showFilter();
  };
})();
