// Trials: the text of a cell becomes a table when the cell is opened, a hundred rows at a time, with a drawing for each trial.
var pageOfTrials = 100;

function ms(v) {
  if (v == null) { return "–"; }
  var s = v / 1000;
  return s === 0 ? "0 ms" : s < 0.9995 ? three(v) + " ms" : three(s) + " s";
}

function three(v) { return v >= 99.95 ? String(Math.round(v)) : v >= 9.995 ? String(+v.toFixed(1)) : String(+v.toFixed(2)); }

function timesBound(v, bound) { return v == null || !bound ? "–" : (v / bound).toFixed(3).replace(/\.?0+$/, "") + "×"; }

// parseTrials reads the lines that trials.go writes.
function parseTrials(text) {
  function num(s) { return s === "-" ? null : +s; }
  return text.trim().split("\n").slice(1).map(function (line) {
    var f = line.split(" "), n = f[0].split(".");
    var t = {
      name: f[0], number: +n[0], attempt: +(n[1] || 0), outcome: outcomes[letters.indexOf(f[1])],
      connect: num(f[2]), packet: num(f[3]), frame: num(f[4]), bound: num(f[5]), intact: f[6], late: num(f[7]), changes: num(f[8]) || 0, seed: f[9],
      why: "", events: [], pcap: "", gap: null
    };
    f.slice(10).forEach(function (note) {
      var e = /^e(\d+)@(.*)$/.exec(note);
      if (e) { t.events.push({ at: +e[2] * 1000, what: sharedText(e[1]) }); }
      else if (note[0] === "c") { t.why = sharedText(note.slice(1)); }
      else if (note.startsWith("g=")) { t.gap = +note.slice(2); }
      else if (note.startsWith("p=")) { t.pcap = note.slice(2); }
    });
    return t;
  });
}

function sharedText(n) {
  var li = document.querySelectorAll("#texts li")[n - 1];
  return li ? li.textContent.trim() : "";
}

// openCell makes the table of a cell, once.
function openCell(box) {
  var pre = box.querySelector("pre.trials");
  if (!pre || box.trials) { return; }
  var value = function (c) { var d = box.querySelector("data." + c); return d ? +d.value : null; };
  box.trials = parseTrials(pre.textContent);
  box.triangle = value("triangle");
  box.bound = value("bound");
  box.open = true;
  var kinds = outcomes.filter(function (o) { return box.trials.some(function (t) { return t.outcome === o; }); });
  var select = make("select", {}, [make("option", { value: "" }, "all outcomes")].concat(kinds.map(function (o) { return make("option", { value: o }, o); })));
  box.body = make("tbody");
  box.more = make("button", { type: "button" });
  box.more.onclick = function () { moreTrials(box, pageOfTrials); };
  select.onchange = function () { box.only = select.value; box.body.textContent = ""; box.at = 0; moreTrials(box, pageOfTrials); };
  box.at = 0;
  var head = ["trial", "outcome", "connect", "first packet", "÷ bound", "first frame", "÷ bound", "frames", "late p99", "seed", "cause"];
  var table = make("table", { class: "data trials" }, [make("thead", {}, make("tr", {}, head.map(function (h) { return make("th", { scope: "col" }, h); }))), box.body]);
  pre.hidden = true;
  pre.before(make("p", { class: "tools" }, make("label", {}, ["Show ", select])),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Trials of cell " + box.dataset.cell }, table), make("p", {}, box.more));
  moreTrials(box, pageOfTrials);
}

function moreTrials(box, n) {
  var list = box.trials.filter(function (t) { return !box.only || t.outcome === box.only; }), end = Math.min(list.length, box.at + n);
  for (; box.at < end; box.at++) { box.body.append(trialRow(box, list[box.at])); }
  var left = list.length - end;
  box.more.hidden = left === 0;
  box.more.textContent = "Show " + Math.min(left, pageOfTrials) + " more of " + count(left);
}

function trialRow(box, t) {
  var knob = make("button", { type: "button", "aria-expanded": "false", title: "Draw this trial" }, String(t.number) + (t.attempt ? " (attempt " + (t.attempt + 1) + ")" : ""));
  var cells = [ms(t.connect), ms(t.packet), timesBound(t.packet, box.triangle), ms(t.frame), timesBound(t.frame, t.bound || box.bound),
    t.intact === "-" ? "–" : t.intact.replace("/", " of "), ms(t.late), t.seed === "-" ? "–" : t.seed];
  var row = make("tr", { id: "c" + box.dataset.cell + ".t" + t.name }, [make("th", { scope: "row" }, knob), make("td", { class: t.outcome }, t.outcome)].concat(
    cells.map(function (c) { return make("td", {}, c); }), make("td", { class: "why" }, t.why)));
  knob.onclick = function () {
    var next = row.nextElementSibling, open = next && next.classList.contains("drawn");
    knob.setAttribute("aria-expanded", String(!open));
    if (open) { next.remove(); return; }
    row.after(make("tr", { class: "drawn" }, make("td", { colspan: "11" }, trialFigure(box, t))));
    address.target = row.id;
    history.replaceState(null, "", hashOf(address.filter, row.id));
  };
  return row;
}

// openTrial shows a trial by its name, "17" or "17.1", and returns its row.
function openTrial(box, name) {
  var at = box.trials ? box.trials.findIndex(function (t) { return t.name === name; }) : -1, row;
  if (at < 0) { return null; }
  if (at >= box.at) { moreTrials(box, at + 1 - box.at); }
  row = document.getElementById("c" + box.dataset.cell + ".t" + name);
  var knob = row && row.querySelector("button");
  if (knob && knob.getAttribute("aria-expanded") === "false") { knob.onclick(); }
  return row;
}

document.addEventListener("toggle", function (e) { if (e.target.matches && e.target.matches("details.cell") && e.target.open) { openCell(e.target); } }, true);
