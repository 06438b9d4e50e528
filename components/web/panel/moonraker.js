// Talking to Moonraker: HTTP for questions, its websocket for what changes, and its own authorization for both.
class Unauthorized extends Error {}
class Unreachable extends Error {}

const POLL_EVERY = 3000;  // ms, while there is no websocket
const LOOK_EVERY = 4000;  // ms, at the cameras
const REFRESH_EVERY = 30000;  // ms, beside one

class Moonraker {
  constructor(listeners) {
    this.listeners = listeners;  // changed(overview), download(progress), opened(), live(word)
    this.base = location.pathname.replace(/\/server\/tecmedhub\/panel\/?$/, "");
    this.token = null;  // of a login; lives an hour
    this.refreshToken = session.get("refresh");  // renews it; gone when the tab is closed
    this.apiKey = null;
    this.socket = null;
    this.pause = 1000;
  }

  get identified() { return Boolean(this.token || this.apiKey); }

  headers() {
    if (this.token) return { Authorization: `Bearer ${this.token}` };
    return this.apiKey ? { "X-Api-Key": this.apiKey } : {};
  }

  async fetch(method, path, args, again = true) {
    const options = { method, headers: this.headers(), cache: "no-store", credentials: "same-origin" };
    let address = this.base + path;
    if (method === "GET" && args) address += `?${new URLSearchParams(args)}`;
    if (method === "POST") {
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(args || {});
    }
    let response;
    try {
      response = await fetch(address, options);
    } catch (_) {
      throw new Unreachable();
    }
    if (response.status === 401 || response.status === 403) {
      if (again && this.refreshToken && (await this.renew())) return this.fetch(method, path, args, false);
      throw new Unauthorized();
    }
    if (response.status >= 502 && response.status <= 504) throw new Unreachable();
    return response;
  }

  async ask(method, path, args) {
    const response = await this.fetch(method, path, args);
    const said = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error((said.error && said.error.message) || `HTTP ${response.status}`);
    return said.result;
  }

  get(name, args) { return this.ask("GET", `/server/tecmedhub/${name}`, { ...args, lang: Language.now }); }
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

  async renew() {
    const refresh = this.refreshToken;
    this.token = this.refreshToken = null;
    try {
      this.token = (await this.ask("POST", "/access/refresh_jwt", { refresh_token: refresh })).token;
      this.refreshToken = refresh;
      return true;
    } catch (_) {
      session.drop("refresh");
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

  hear(data) {
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

  get live() { return Boolean(this.socket && this.socket.readyState === WebSocket.OPEN); }
}
