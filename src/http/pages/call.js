// The demo of calls: signs in or takes a call token, joins by name, shows everybody.

import { ask, device, keep, kept, renew } from "./api.js";
import { Call } from "./call-client.js";
import { $, fieldsOf, h, markFields, reconcile, say } from "./dom.js";
import { Line } from "./socket.js";

const hash = new URLSearchParams(location.hash.slice(1));
const SOON = 30_000;
const REASONS = {
  hangup: "The call is over.",
  kicked: "You were put out of the call.",
  timeout: "The call has lasted as long as a call may.",
  failed: "The call failed.",
};

let call = null;
let line = null;
let own = [];
let isCamera = false;

function shown(id) {
  $("entry").hidden = id !== "entry";
  $("call").hidden = id !== "call";
}

function problem(text) {
  say($("entry-problem"), text);
  $("entry-problem").hidden = !text;
  if (text) $("entry-problem").focus();
}

/** A picture that moves and a tone that is hardly heard, for those without a camera. */
function testStream() {
  const canvas = h("canvas", { width: 640, height: 480 });
  const brush = canvas.getContext("2d");
  const hue = Math.floor(Math.random() * 360);
  const draw = () => {
    brush.fillStyle = `hsl(${hue} 40% 30%)`;
    brush.fillRect(0, 0, 640, 480);
    brush.fillStyle = "white";
    brush.font = "48px sans-serif";
    brush.fillText(new Date().toLocaleTimeString(), 200, 250);
    const angle = performance.now() / 600;
    brush.fillRect(310 + 200 * Math.cos(angle), 230 + 150 * Math.sin(angle), 24, 24);
  };
  draw();
  setInterval(draw, 50);
  const sound = new AudioContext();
  const tone = new OscillatorNode(sound, { frequency: 220 + hue });
  const volume = new GainNode(sound, { gain: 0.02 });
  const out = sound.createMediaStreamDestination();
  tone.connect(volume).connect(out);
  tone.start();
  return new MediaStream([...canvas.captureStream(20).getTracks(), ...out.stream.getTracks()]);
}

async function media(source) {
  if (source === "test") return testStream();
  try {
    const video = source === "camera" && { width: 1280, height: 720 };
    return await navigator.mediaDevices.getUserMedia({ audio: true, video });
  } catch (error) {
    const reason = navigator.mediaDevices ? error.message : "only pages over HTTPS may use them";
    throw new Error(`Camera and microphone cannot be used: ${reason}. Try the test picture.`);
  }
}

async function token() {
  if (hash.get("token")) return hash.get("token");
  const form = $("entry-form");
  if (!kept()) {
    const { phone, password } = form.elements;
    keep(await ask("POST", "/api/auth/login", { phone: phone.value, password: password.value, device }));
  }
  if (kept().expires_at - Date.now() < SOON) await renew();
  return kept().access_token;
}

function connect() {
  return new Promise((resolve, reject) => {
    line = new Line({
      prepare: token,
      opened: async () => {
        resolve();
        if (call?.id) await call.rejoin().catch(() => over("The call is over."));
      },
      event: (name, data) => call?.hear(name, data),
      state: (state) => {
        if (state.kind === "halted") over(state.detail);
        if (call) draw();
      },
      ended: (words) => {
        reject(new Error(words));
        over(words);
      },
    });
    line.open();
  });
}

async function enter(event) {
  event.preventDefault();
  const form = $("entry-form");
  problem("");
  markFields(form, {});
  const session = form.elements.session.value.trim();
  if (!hash.get("token") && !/^[A-Za-z0-9_.:@-]{1,128}$/.test(session)) {
    return void markFields(form, { session: "Enter a name of letters, digits and - _ . : @" });
  }
  $("enter").disabled = true;
  try {
    const source = new FormData(form).get("source");
    isCamera = source === "camera";
    const stream = await media(source);
    own = stream.getTracks();
    await connect();
    call = new Call((event, data) => line.request(event, data));
    call.addEventListener("change", draw);
    call.addEventListener("ended", ({ detail }) => over(REASONS[detail] ?? "The call is over."));
    const joined = await call.join(hash.get("token") ? {} : { sessionId: session });
    say($("name"), joined.sessionId ?? "Call");
    for (const track of own) call.publish(track, track.kind === "audio" ? "microphone" : "camera");
    if (!stream.getVideoTracks().length) await call.mute("video", true);
    shown("call");
    draw();
    $("microphone").focus();
  } catch (error) {
    call = null;
    line?.stop();
    for (const track of own) track.stop();
    if (error.status === 401 && kept()) sessionStorage.clear();
    prepare();
    if (!markFields(form, error.code ? fieldsOf(error, form) : {})) problem(error.detail ?? error.message);
  } finally {
    $("enter").disabled = false;
  }
}

function over(words) {
  line?.stop();
  for (const track of own) track.stop();
  call = null;
  shown("entry");
  prepare();
  problem(words);
}

/** Pictures to show: our own, everybody's camera or face, and shared screens. */
function tiles() {
  const mine = call.published;
  const all = [{ key: "me", label: "You", isMine: true, isMirrored: isCamera, track: mine.get("camera"), speaking: false }];
  if (mine.get("screen")) all.push({ key: "me/screen", label: "Your screen", isScreen: true, track: mine.get("screen") });
  for (const [id, { name, audio, video, speaking }] of call.participants) {
    const of = (source) => call.playing.find((item) => item.participant_id === id && item.source === source)?.track;
    const sounds = [of("microphone"), of("screen_audio")].filter(Boolean);
    const label = audio ? name : `${name} (muted)`;
    all.push({ key: id, label, name, track: video ? of("camera") : null, sounds, speaking });
    if (of("screen")) all.push({ key: `${id}/screen`, label: `${name}’s screen`, isScreen: true, track: of("screen") });
  }
  return all;
}

function makeTile({ isMirrored, isScreen }) {
  const video = h("video", { autoplay: true, playsinline: true });
  video.muted = true; // sound has elements of its own, so that a missing picture mutes nobody
  return h("section", { class: `tile${isMirrored ? " mirrored" : ""}${isScreen ? " screen" : ""}` },
    h("span", { class: "face", "aria-hidden": "true" }), video, h("audio", { autoplay: true }), h("span", { class: "label" }));
}

function updateTile(element, { label, name, track, sounds = [], speaking }) {
  const [face, video, audio, words] = element.children;
  element.classList.toggle("speaking", Boolean(speaking));
  element.setAttribute("aria-label", label);
  say(words, label);
  say(face, (name ?? label).slice(0, 1).toUpperCase());
  video.hidden = !track;
  play(video, track ? [track] : []);
  play(audio, sounds);
}

function play(element, tracks) {
  const now = element.srcObject?.getTracks() ?? [];
  if (now.length === tracks.length && tracks.every((track) => now.includes(track))) return;
  element.srcObject = tracks.length ? new MediaStream(tracks) : null;
  if (tracks.length) element.play().catch(() => {}); // a browser that wants a click first gets one: join
}

function draw() {
  if (!call) return;
  const all = tiles();
  $("grid").style.setProperty("--columns", Math.ceil(Math.sqrt(all.length * (innerWidth > innerHeight ? 1 : 0.5))));
  reconcile($("grid"), all, ({ key }) => key, makeTile, updateTile);
  $("alone").hidden = call.participants.size > 0;
  const others = call.participants.size;
  const words = { online: others === 1 ? "1 other" : `${others} others`, waiting: "Connecting again …", connecting: "Connecting …" };
  const media = ["failed", "disconnected"].includes(call.state) ? "Looking for another way …" : null;
  say($("state"), line.state.kind === "online" && media ? media : words[line.state.kind] ?? "");
  button("microphone", !call.published.get("microphone")?.enabled, "Unmute", "Mute");
  button("camera", !call.published.get("camera")?.enabled, "Start camera", "Stop camera");
  button("screen", call.published.has("screen"), "Stop sharing", "Share screen");
}

function button(id, isPressed, pressed, released) {
  $(id).setAttribute("aria-pressed", String(isPressed));
  say($(id), isPressed ? pressed : released);
}

function toggle(kind, source) {
  const track = call.published.get(source);
  if (track) act(call.mute(kind, track.enabled).then(draw));
}

async function share() {
  if (call.published.has("screen")) {
    call.published.get("screen").stop();
    return void call.unpublish("screen");
  }
  const stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true });
  for (const track of stream.getTracks()) call.publish(track, track.kind === "video" ? "screen" : "screen_audio");
}

/** Shows what a deed of a button failed of. */
function act(deed) {
  $("trouble").hidden = true;
  deed.catch((error) => {
    if (error.name === "NotAllowedError") return; // they changed their mind
    say($("trouble"), error.detail ?? error.message);
    $("trouble").hidden = false;
  });
}

function prepare() {
  const withToken = hash.has("token");
  $("sign-in").hidden = withToken || Boolean(kept());
  $("session-field").hidden = withToken;
  const name = kept()?.user.name;
  say($("lead"), withToken ? "You were given a token for this call." : name ? `You are ${name}. People who enter the same name meet.` : "People who enter the same name meet.");
  if (hash.get("session")) $("session").value = hash.get("session");
}

$("entry-form").addEventListener("submit", enter);
$("microphone").addEventListener("click", () => toggle("audio", "microphone"));
$("camera").addEventListener("click", () => toggle("video", "camera"));
$("screen").addEventListener("click", () => act(share()));
$("screen").hidden = !navigator.mediaDevices?.getDisplayMedia;
$("leave").addEventListener("click", () => {
  const leaving = call.leave();
  over("");
  leaving.catch(() => {}); // whoever is gone has left
});
addEventListener("resize", draw);
addEventListener("pagehide", () => call?.leave().catch(() => {})); // nobody should wait for a closed page
addEventListener("online", () => call?.restart());
prepare();
