// Talking to Moonraker: HTTP for questions, its websocket for what changes, and its own authorization for both.
class Unauthorized extends Error {}
class Unreachable extends Error {}

const POLL_EVERY = 3000;  // ms, while there is no websocket
const LOOK_EVERY = 4000;  // ms, at the cameras
const REFRESH_EVERY = 30000;  // ms, beside one
const SILENCE = 25000;  // ms without a word on the websocket, which brings one every ten seconds: it is dead, open as it looks
const QUICK = /\/(status|history|commands|events|config|oneshot_token|refresh_jwt)$/;  // the others take pictures, examine, or wait for a disk
const PATIENCE = 15000;  // ms for those; 120 s for the others

class Moonraker {
  constructor(listeners) {
    this.listeners = listeners;  // changed(overview), download(progress), live(on)
    this.base = location.pathname.replace(/\/server\/tecmedhub\/(panel\/?)?$/, "");
    this.token = null;  // of a login; lives an hour
    this.refreshToken = session.get("refresh");  // renews it; gone when the tab is closed
    this.apiKey = null;
    this.renewing = null;
    this.socket = null;
    this.heardAt = 0;  // ms, of the socket
    this.pause = 1000;
  }

  get identified() { return Boolean(this.token || this.apiKey); }

  headers() {
    if (this.token) return { Authorization: `Bearer ${this.token}` };
    return this.apiKey ? { "X-Api-Key": this.apiKey } : {};
  }

  async fetch(method, path, args, again = true) {
    const used = this.token;
    const patience = new AbortController();
    const options = { method, headers: this.headers(), cache: "no-store", credentials: "same-origin", signal: patience.signal };
    let address = this.base + path;
    if (method === "GET" && args) address += `?${new URLSearchParams(args)}`;
    if (method === "POST") {
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(args || {});
    }
    let response;
    const limit = setTimeout(() => patience.abort(), QUICK.test(path) ? PATIENCE : 120000);
    try {
      response = await fetch(address, options);
    } catch (_) {
      throw new Unreachable();
    } finally {
      clearTimeout(limit);
    }
    if (response.status === 401 || response.status === 403) {
      if (again && (await this.renew(used))) return this.fetch(method, path, args, false);
      throw new Unauthorized();
    }
    const own = (response.headers.get("Content-Type") || "").includes("json");  // Moonraker's word, not a proxy's
    if (response.status >= 502 && response.status <= 504 && !own) throw new Unreachable();
    return response;
  }

  async ask(method, path, args, again) {
    const response = await this.fetch(method, path, args, again);
    const said = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error((said.error && said.error.message) || `HTTP ${response.status}`);
    return said.result;
  }

  async get(name, args) {
    const said = await this.ask("GET", `/server/tecmedhub/${name}`, { ...args, lang: Language.now });
    if (said.ok === false && said.message) throw new Error(said.message);
    return said;
  }

  post(name, args) { return this.ask("POST", `/server/tecmedhub/${name}`, { ...args, lang: Language.now }); }

  // At most `age` seconds old, where the camera gives one.
  async picture(camera, age) {
    const response = await this.fetch("GET", "/server/tecmedhub/image", { camera, max_age: age });
    const kind = response.headers.get("Content-Type") || "";
    return response.ok && kind.startsWith("image/") ? response.blob() : null;
  }

  // Authorization

  async login(username, password) {
    const said = await this.ask("POST", "/access/login", { username, password });
    this.token = said.token;
    this.refreshToken = said.refresh_token;
    this.apiKey = null;
    session.set("refresh", said.refresh_token);
  }

  useKey(key) { this.forget(); this.apiKey = key; }

  forget() {
    this.token = this.refreshToken = this.apiKey = null;
    session.drop("refresh");
  }

  // Whether there is another token than `used`: one renewal for all requests whose token ran out at the same moment.
  async renew(used) {
    if (this.token && this.token !== used) return true;
    if (!this.refreshToken) return false;
    if (!this.renewing) this.renewing = this.refresh().finally(() => { this.renewing = null; });
    return this.renewing;
  }

  async refresh() {
    this.token = null;
    try {
      this.token = (await this.ask("POST", "/access/refresh_jwt", { refresh_token: this.refreshToken }, false)).token;
      return true;
    } catch (error) {
      if (error instanceof Unreachable) throw error;  // the login is as good as before
      this.forget();
      return false;
    }
  }

  // The websocket

  async connect() {
    if (this.socket) return;
    let query = "";
    if (this.identified) {
      try {
        query = `?token=${encodeURIComponent(await this.ask("GET", "/access/oneshot_token"))}`;
      } catch (_) { /* the socket is refused or not; polling goes on */ }
    }
    if (this.socket) return;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}${this.base}/websocket${query}`);
    this.socket = socket;
    socket.onopen = () => {
      this.heardAt = Date.now();
      const params = { client_name: "TecMedHub panel", version: "1", type: "web", url: location.origin };
      if (this.token) params.access_token = this.token;
      else if (this.apiKey) params.api_key = this.apiKey;
      socket.send(JSON.stringify({ jsonrpc: "2.0", method: "server.connection.identify", params, id: 1 }));
    };
    socket.onmessage = (event) => this.hear(event.data);
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.listeners.live(false);
      setTimeout(() => this.connect(), this.pause);
      this.pause = Math.min(this.pause * 2, 15000);
    };
  }

  disconnect() {
    const socket = this.socket;
    this.socket = null;
    if (socket) socket.close();
  }

  // A phone that slept, or a line that broke, leaves a socket that looks open for minutes.
  watch() {
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN || this.live) return;
    this.disconnect();
    this.listeners.live(false);
    this.connect();
  }

  hear(data) {
    this.heardAt = Date.now();
    let message;
    try { message = JSON.parse(data); } catch (_) { return; }
    if (message.id === 1) {
      if (message.error) return;  // not let in: polling says so
      this.pause = 1000;
      this.listeners.live(true);
    } else if (message.method === "notify_tecmedhub_changed") {
      this.listeners.changed(message.params[0]);
    } else if (message.method === "notify_tecmedhub_download") {
      this.listeners.download(message.params[0].download);
    }
  }

  get live() { return Boolean(this.socket && this.socket.readyState === WebSocket.OPEN && Date.now() - this.heardAt < SILENCE); }
}
