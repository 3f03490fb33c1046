// The page: the cameras' state by server-sent events, the chosen one's picture by WHEP.
const byId = (id) => document.getElementById(id);
const video = byId('video');
let cameras = [];
let chosen = decodeURIComponent(location.hash.slice(1));
let play = null; // the session of the chosen camera

function make(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function ago(iso) {
  const s = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  if (s < 60) return 'a moment';
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

function stateOf(c) {
  let s = c.presence === 'unknown' ? 'not known yet' : c.presence;
  if (c.since) s += ` for ${ago(c.since)}`;
  if (c.why) s += `: it ${c.why}`;
  if (c.presence !== 'online' && !c.since && c.last_seen) s += `, last seen ${ago(c.last_seen)} ago`;
  return s;
}

const buttons = new Map();

function showList() {
  const list = byId('cameras');
  for (const c of cameras) {
    let b = buttons.get(c.name);
    if (!b) {
      b = make('button');
      b.type = 'button';
      b.append(make('span', 'dot'), make('span', 'name', c.name), make('span', 'path'), make('span', 'state'), make('span', 'failure'));
      b.addEventListener('click', () => choose(c.name));
      const item = make('li');
      item.append(b);
      list.append(item);
      buttons.set(c.name, b);
    }
    b.className = c.presence;
    b.setAttribute('aria-pressed', String(c.name === chosen));
    b.querySelector('.path').textContent = c.path || (c.last_path ? `last ${c.last_path}` : '');
    b.querySelector('.state').textContent = stateOf(c);
    b.querySelector('.failure').textContent = c.failure || '';
  }
  for (const [name, b] of buttons) {
    if (!cameras.some((c) => c.name === name)) {
      b.parentElement.remove();
      buttons.delete(name);
    }
  }
  if (!cameras.length) byId('message').textContent = 'No camera yet: add one with “punchlab viewer add”.';
}

const milliseconds = (s) => (s < 0.0095 ? (1000 * s).toFixed(1) : Math.round(1000 * s)) + ' ms';
const percent = (x) => (100 * x).toFixed(x > 0 && x < 0.1 ? 1 : 0) + ' %';
const rank = (value, warn, bad) => (value >= bad ? 'bad' : value >= warn ? 'warn' : 'good');

function showFacts() {
  const c = cameras.find((c) => c.name === chosen);
  const facts = [];
  if (c) {
    const shown = play && play.shown;
    facts.push(['Path', c.path || '–', c.path === 'relay' ? 'warn' : c.path ? 'good' : '']);
    facts.push(['Latency, camera to here', c.latency_s === undefined ? '–' : milliseconds(c.latency_s), c.latency_s === undefined ? '' : rank(c.latency_s, 0.25, 1)]);
    facts.push(['Round trip', c.rtt_s === undefined ? '–' : milliseconds(c.rtt_s), '']);
    facts.push(['Packets lost', c.loss === undefined ? '–' : percent(c.loss), c.loss === undefined ? '' : rank(c.loss, 0.01, 0.05)]);
    facts.push(['Bit rate', c.bitrate_bps === undefined ? '–' : (c.bitrate_bps / 1e6).toFixed(2) + ' Mbit/s', '']);
    facts.push(['Frames a second', c.frames_per_s === undefined ? '–' : c.frames_per_s.toFixed(0), '']);
    facts.push(['Frames shown', shown === undefined || shown === null ? '–' : String(shown), '']);
    if (c.role) facts.push(['You are', c.role, '']);
  }
  const dl = byId('facts');
  while (dl.children.length > facts.length) dl.lastChild.remove();
  facts.forEach(([name, value, className], i) => {
    let row = dl.children[i];
    if (!row) {
      row = make('div');
      row.append(make('dt'), make('dd'));
      dl.append(row);
    }
    row.firstChild.textContent = name;
    row.lastChild.textContent = value;
    row.lastChild.className = className;
  });
}

// Session is one WHEP session; it begins anew by itself until it is closed.
class Session {
  constructor(camera) {
    this.camera = camera;
    this.wait = 500; // ms
    this.shown = null;
    this.begin();
  }

  async begin() {
    const pc = this.pc = new RTCPeerConnection();
    const transceiver = pc.addTransceiver('video', { direction: 'recvonly' });
    pc.ontrack = (e) => {
      if ('jitterBufferTarget' in transceiver.receiver) transceiver.receiver.jitterBufferTarget = 0; // as live as can be
      video.srcObject = e.streams[0] || new MediaStream([e.track]);
    };
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === 'failed' || pc.connectionState === 'closed') this.again('The connection to the viewer is lost.');
    };
    try {
      await pc.setLocalDescription(await pc.createOffer());
      const answer = await fetch('/whep/' + encodeURIComponent(this.camera), {
        method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription.sdp,
      });
      if (answer.status !== 201) throw new Error((await answer.text()).trim());
      this.location = answer.headers.get('Location');
      if (this.pc !== pc || this.closed) return this.remove();
      await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    } catch (e) {
      if (this.pc === pc) this.again(e.message);
      return;
    }
    this.watch(pc);
  }

  // watch follows whether pictures come.
  async watch(pc) {
    let quiet = 0;
    for (let last = -1; !this.closed && this.pc === pc; ) {
      await new Promise((f) => setTimeout(f, 250));
      const quality = video.getVideoPlaybackQuality();
      for (const s of (await pc.getStats()).values()) {
        if (s.type === 'inbound-rtp' && s.kind === 'video') this.shown = s.framesDecoded;
      }
      quiet = quality.totalVideoFrames === last ? quiet + 1 : 0;
      last = quality.totalVideoFrames;
      if (quiet === 0 && last > 0) {
        this.wait = 500;
        byId('message').textContent = '';
      } else if (quiet >= 8) {
        const c = cameras.find((c) => c.name === this.camera);
        byId('message').textContent = c && c.failure ? c.failure : 'Waiting for the camera …';
      }
      showFacts();
      if (video.paused) video.play().catch(() => {});
    }
  }

  again(why) {
    this.remove();
    if (this.closed) return;
    byId('message').textContent = why;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.closed || this.begin(), this.wait);
    this.wait = Math.min(2 * this.wait, 10000);
  }

  remove() {
    const pc = this.pc;
    this.pc = null;
    if (pc) pc.close();
    if (this.location) fetch(this.location, { method: 'DELETE', keepalive: true }).catch(() => {});
    this.location = null;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.remove();
  }
}

function choose(name) {
  if (play && play.camera === name && !play.closed) return;
  if (play) play.close();
  chosen = name;
  location.hash = encodeURIComponent(name);
  document.title = name;
  byId('message').textContent = 'Connecting …';
  byId('full').hidden = false;
  play = new Session(name);
  showList();
  showFacts();
}

byId('full').addEventListener('click', () => byId('screen').requestFullscreen());
addEventListener('hashchange', () => {
  const name = decodeURIComponent(location.hash.slice(1));
  if (name !== chosen) choose(name);
});
addEventListener('pagehide', () => play && play.close());

const events = new EventSource('/api/events');
events.onopen = () => { byId('server').textContent = ''; };
events.onerror = () => { byId('server').textContent = 'The viewer does not answer: is it still running?'; };
events.onmessage = (e) => {
  cameras = JSON.parse(e.data).cameras;
  showList();
  showFacts();
  if (!play && cameras.length) choose(cameras.some((c) => c.name === chosen) ? chosen : cameras[0].name);
};
