// A trial as a drawing: when the viewer asked, connected, had the first packet and the first frame, and what the lab did meanwhile.
//
//	│asked        │connected 61 ms
//	│             │    │first packet 64 ms     │first frame 90 ms
//	●─────────────●────●───────────────────────●─────────────
//	0        50 ms  ┆triangle bound    100 ms  ┆first frame's bound

function esc(s) { return String(s).replace(/[&<>"]/g, function (c) { return { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" }[c]; }); }

var drawings = 0;

function trialFigure(box, t) {
  var id = "drawing" + (++drawings), says = trialSays(box, t);
  var figure = make("figure", { class: "timeline" });
  figure.innerHTML = timelineSVG(box, t, id, says);
  var caption = make("figcaption", {}, [says]);
  figure.append(caption);
  var lines = make("dl", { class: "commands" });
  function line(name, what) { lines.append(make("div", {}, [make("dt", {}, name), make("dd", {}, what)])); }
  if (t.pcap) {
    line("Capture", make("a", { href: t.pcap }, t.pcap));
    line("Explain it", make("code", {}, "punchlab replay " + runFolder() + " " + box.dataset.cell + "/" + t.name.replace(".", "/")));
  }
  line(t.pcap || run.engine === "sim" ? "Run it again" : "Run it again, with a capture", make("code", {}, againCommand(box, t)));
  figure.append(lines);
  return figure;
}

// runFolder is where this page is, where that is a folder of this machine.
function runFolder() {
  if (location.protocol !== "file:") { return "RUN"; }
  return quote(decodeURIComponent(location.pathname.replace(/\/[^/]*$/, "")));
}

function quote(s) { return /^[\w.,:\/=+-]+$/.test(s) ? s : "'" + s.replace(/'/g, "'\\''") + "'"; }

function againCommand(box, t) {
  var c = run.cells[box.dataset.cell], parts = ["punchlab run", quote(run.scenario), "--seed", run.seed, "--engine", quote(run.engine)];
  run.axes.forEach(function (a, i) { parts.push("--set", quote(a.key + "=" + a.values[c.values[i]])); });
  run.fixed.forEach(function (p) { parts.push("--set", quote(p.Key + "=" + p.Value)); });
  return parts.concat(["--trials", t.number + 1, run.engine === "sim" ? [] : "--pcap all", "--out FOLDER"].flat()).join(" ");
}

function trialSays(box, t) {
  var s = "Trial " + t.number + (t.attempt ? ", attempt " + (t.attempt + 1) : "") + " of cell " + box.dataset.cell + ", " + t.outcome + ": ";
  var parts = [];
  if (t.connect != null) { parts.push("connected after " + ms(t.connect)); } else { parts.push("never connected"); }
  if (t.packet != null) { parts.push("first packet after " + ms(t.packet) + (box.triangle ? " (triangle bound " + ms(box.triangle) + ")" : "")); }
  if (t.frame != null) { parts.push("first whole frame after " + ms(t.frame) + (t.bound || box.bound ? " (bound " + ms(t.bound || box.bound) + ")" : "")); }
  if (t.intact !== "-") { parts.push(t.intact.replace("/", " of ") + " frames whole"); }
  if (t.gap) { parts.push("longest standstill " + ms(t.gap)); }
  parts.push(t.changes === 0 ? "no path change" : t.changes === 1 ? "1 path change" : t.changes + " path changes");
  t.events.forEach(function (e) { parts.push(e.what + " at " + ms(e.at) + " of the trial"); });
  return s + parts.join(", ") + "." + (t.why ? " " + t.why : "");
}

var left = 28, right = 612;

function timelineSVG(box, t, id, says) {
  var marks = [{ at: 0, says: "asked" }], bounds = [];
  if (t.connect != null) { marks.push({ at: t.connect, says: "connected " + ms(t.connect) }); }
  if (t.packet != null) { marks.push({ at: t.packet, says: "first packet " + ms(t.packet) }); }
  if (t.frame != null) { marks.push({ at: t.frame, says: "first frame " + ms(t.frame) }); }
  if (box.triangle && marks.length > 1) { bounds.push({ at: box.triangle, says: "triangle bound" }); }
  if ((t.bound || box.bound) && t.frame != null) { bounds.push({ at: t.bound || box.bound, says: "first frame’s bound" }); }
  var lane = drawLane(marks, bounds, 0, t.outcome, t.connect == null ? "never connected" : "");
  var svg = lane.svg, height = lane.height;
  if (t.events.length > 0) {
    svg += '<text x="8" y="' + (height + 14) + '" class="small">What the lab did, since the trial began (the viewer asked later)</text>';
    var did = drawLane(t.events.map(function (e, i) { return { at: e.at, says: e.what + " " + ms(e.at) }; }), [], height + 18, "lab", "");
    svg += did.svg;
    height = did.height;
  }
  return '<svg viewBox="0 0 640 ' + height + '" role="img" aria-labelledby="' + id + 't ' + id + 'd"><title id="' + id + 't">Timeline of trial ' + t.number + " of cell " + box.dataset.cell +
    '</title><desc id="' + id + 'd">' + esc(says) + "</desc>" + svg + "</svg>";
}

// drawLane draws marks along a line, their labels above it in as many rows as they need, bounds and ticks below.
function drawLane(marks, bounds, top, kind, nothing) {
  var end = Math.max.apply(null, marks.concat(bounds).map(function (m) { return m.at; })) || 1;
  var x = function (v) { return left + (right - left) * v / (end * 1.04); }, rows = [], svg = "";
  marks.forEach(function (m) {
    var w = m.says.length * 6.3 + 10, from = Math.min(x(m.at) + 4, 636 - w);
    m.row = 0;
    while (rows[m.row] != null && rows[m.row] > from) { m.row++; }
    rows[m.row] = from + w;
    m.label = from;
  });
  var y = top + 14 + rows.length * 17 + 14;
  bounds.forEach(function (b, i) {
    svg += '<line class="bound" x1="' + x(b.at) + '" x2="' + x(b.at) + '" y1="' + (y - 10) + '" y2="' + (y + 34 + 14 * i) + '"/>';
    var anchor = x(b.at) > 480 ? "end" : "start", shift = anchor === "end" ? -4 : 4;
    svg += '<text class="small" text-anchor="' + anchor + '" x="' + (x(b.at) + shift) + '" y="' + (y + 36 + 14 * i) + '">' + esc(b.says) + " " + ms(b.at) + "</text>";
  });
  svg += '<line class="axis" x1="' + left + '" x2="' + right + '" y1="' + y + '" y2="' + y + '"/>';
  niceTicks(end).forEach(function (v) {
    svg += '<line class="axis" x1="' + x(v) + '" x2="' + x(v) + '" y1="' + y + '" y2="' + (y + 12) + '"/><text class="small" text-anchor="middle" x="' + x(v) + '" y="' + (y + 23) + '">' + ms(v) + "</text>";
  });
  marks.forEach(function (m) {
    svg += '<line class="lead" x1="' + x(m.at) + '" x2="' + x(m.at) + '" y1="' + y + '" y2="' + (top + 5 + m.row * 17) + '"/><text x="' + m.label + '" y="' + (top + 13 + m.row * 17) + '">' +
      esc(m.says) + '</text><circle class="' + kind + '" cx="' + x(m.at) + '" cy="' + y + '" r="4.5"/>';
  });
  if (nothing) { svg += '<text x="' + (left + 24) + '" y="' + (y - 8) + '">' + nothing + "</text>"; }
  return { svg: svg, height: y + 32 + 14 * bounds.length };
}

function niceTicks(end) {
  var raw = end / 5, p = Math.pow(10, Math.floor(Math.log10(raw))), step = [1, 2, 5, 10].map(function (k) { return k * p; }).find(function (s) { return s >= raw * 0.999; }), ticks = [];
  for (var i = 0; i * step <= end * 1.001; i++) { ticks.push(i * step); }
  return ticks;
}

readAddress();
showFilter();
go();
