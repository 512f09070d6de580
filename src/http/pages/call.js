// Call demo: signs in or uses a call token, joins by session name, shows all participants.

import { request, device, storeSession, storedSession, renew } from "./api.js";
import { Call } from "./call-client.js";
import { $, fieldErrors, h, markFields, reconcile, setText } from "./dom.js";
import { ReconnectingSocket } from "./socket.js";

const hash = new URLSearchParams(location.hash.slice(1));
const MIN_TOKEN_LIFETIME_MS = 30_000;
const REASONS = {
  hangup: "The call is over.",
  kicked: "A moderator removed you from the call.",
  timeout: "The call reached its maximum duration.",
  failed: "The call failed.",
};

let call = null;
let socket = null;
let localTracks = [];
let isCamera = false;

function showView(id) {
  $("entry").hidden = id !== "entry";
  $("call").hidden = id !== "call";
}

function showProblem(text) {
  setText($("entry-problem"), text);
  $("entry-problem").hidden = !text;
  if (text) $("entry-problem").focus();
}

/** A moving picture and a quiet tone, for devices without a camera. */
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

async function openMedia(source) {
  if (source === "test") return testStream();
  try {
    const video = source === "camera" && { width: 1280, height: 720 };
    return await navigator.mediaDevices.getUserMedia({ audio: true, video });
  } catch (error) {
    const reason = navigator.mediaDevices ? error.message : "only pages over HTTPS may use them";
    throw new Error(`Camera and microphone cannot be used: ${reason}. Try the test picture.`);
  }
}

async function accessToken() {
  if (hash.get("token")) return hash.get("token");
  const form = $("entry-form");
  if (!storedSession()) {
    const { phone, password } = form.elements;
    storeSession(await request("POST", "/api/auth/login", { phone: phone.value, password: password.value, device }));
  }
  if (storedSession().expires_at - Date.now() < MIN_TOKEN_LIFETIME_MS) await renew();
  return storedSession().access_token;
}

function connect() {
  return new Promise((resolve, reject) => {
    socket = new ReconnectingSocket({
      prepare: accessToken,
      opened: async () => {
        resolve();
        if (call?.id) await call.rejoin().catch(() => endCall("The call is over."));
      },
      event: (name, data) => call?.onEvent(name, data),
      state: (state) => {
        if (state.kind === "halted") endCall(state.detail);
        if (call) draw();
      },
      ended: (text) => {
        reject(new Error(text));
        endCall(text);
      },
    });
    socket.open();
  });
}

async function enter(event) {
  event.preventDefault();
  const form = $("entry-form");
  showProblem("");
  markFields(form, {});
  const session = form.elements.session.value.trim();
  if (!hash.get("token") && !/^[A-Za-z0-9_.:@-]{1,128}$/.test(session)) {
    return void markFields(form, { session: "Enter a name of letters, digits and - _ . : @" });
  }
  $("enter").disabled = true;
  try {
    const source = new FormData(form).get("source");
    isCamera = source === "camera";
    const stream = await openMedia(source);
    localTracks = stream.getTracks();
    await connect();
    call = new Call((event, data) => socket.request(event, data));
    call.addEventListener("change", draw);
    call.addEventListener("ended", ({ detail }) => endCall(REASONS[detail] ?? "The call is over."));
    const joined = await call.join(hash.get("token") ? {} : { sessionId: session });
    setText($("name"), joined.sessionId ?? "Call");
    for (const track of localTracks) call.publish(track, track.kind === "audio" ? "microphone" : "camera");
    if (!stream.getVideoTracks().length) await call.mute("video", true);
    showView("call");
    draw();
    $("microphone").focus();
  } catch (error) {
    call = null;
    socket?.stop();
    for (const track of localTracks) track.stop();
    if (error.status === 401 && storedSession()) sessionStorage.clear();
    prepare();
    if (!markFields(form, error.code ? fieldErrors(error, form) : {})) showProblem(error.detail ?? error.message);
  } finally {
    $("enter").disabled = false;
  }
}

function endCall(text) {
  socket?.stop();
  for (const track of localTracks) track.stop();
  call = null;
  showView("entry");
  prepare();
  showProblem(text);
}

/** Tiles to show: own picture, each participant's camera or avatar, shared screens. */
function tiles() {
  const published = call.published;
  const all = [{ key: "me", label: "You", isMine: true, isMirrored: isCamera, track: published.get("camera"), speaking: false }];
  if (published.get("screen")) all.push({ key: "me/screen", label: "Your screen", isScreen: true, track: published.get("screen") });
  for (const [id, { name, audio, video, speaking }] of call.participants) {
    const trackOf = (source) => call.playing.find((item) => item.participant_id === id && item.source === source)?.track;
    const audioTracks = [trackOf("microphone"), trackOf("screen_audio")].filter(Boolean);
    const label = audio ? name : `${name} (muted)`;
    all.push({ key: id, label, name, track: video ? trackOf("camera") : null, audioTracks, speaking });
    if (trackOf("screen")) all.push({ key: `${id}/screen`, label: `${name}’s screen`, isScreen: true, track: trackOf("screen") });
  }
  return all;
}

function makeTile({ isMirrored, isScreen }) {
  const video = h("video", { autoplay: true, playsinline: true });
  video.muted = true; // audio has its own element, so that a missing picture mutes nobody
  return h("section", { class: `tile${isMirrored ? " mirrored" : ""}${isScreen ? " screen" : ""}` },
    h("span", { class: "face", "aria-hidden": "true" }), video, h("audio", { autoplay: true }), h("span", { class: "label" }));
}

function updateTile(element, { label, name, track, audioTracks = [], speaking }) {
  const [avatar, video, audio, text] = element.children;
  element.classList.toggle("speaking", Boolean(speaking));
  element.setAttribute("aria-label", label);
  setText(text, label);
  setText(avatar, (name ?? label).slice(0, 1).toUpperCase());
  video.hidden = !track;
  setTracks(video, track ? [track] : []);
  setTracks(audio, audioTracks);
}

function setTracks(element, tracks) {
  const current = element.srcObject?.getTracks() ?? [];
  if (current.length === tracks.length && tracks.every((track) => current.includes(track))) return;
  element.srcObject = tracks.length ? new MediaStream(tracks) : null;
  if (tracks.length) element.play().catch(() => {}); // autoplay is allowed after the click on "Join"
}

function draw() {
  if (!call) return;
  const all = tiles();
  $("grid").style.setProperty("--columns", Math.ceil(Math.sqrt(all.length * (innerWidth > innerHeight ? 1 : 0.5))));
  reconcile($("grid"), all, ({ key }) => key, makeTile, updateTile);
  $("alone").hidden = call.participants.size > 0;
  const others = call.participants.size;
  const texts = { online: others === 1 ? "1 other" : `${others} others`, waiting: "Reconnecting …", connecting: "Connecting …" };
  const media = ["failed", "disconnected"].includes(call.state) ? "Reconnecting media …" : null;
  setText($("state"), socket.state.kind === "online" && media ? media : texts[socket.state.kind] ?? "");
  setToggle("microphone", !call.published.get("microphone")?.enabled, "Unmute", "Mute");
  setToggle("camera", !call.published.get("camera")?.enabled, "Start camera", "Stop camera");
  setToggle("screen", call.published.has("screen"), "Stop sharing", "Share screen");
}

function setToggle(id, isPressed, pressed, released) {
  $(id).setAttribute("aria-pressed", String(isPressed));
  setText($(id), isPressed ? pressed : released);
}

function toggle(kind, source) {
  const track = call.published.get(source);
  if (track) runAction(call.mute(kind, track.enabled).then(draw));
}

async function share() {
  if (call.published.has("screen")) {
    call.published.get("screen").stop();
    return void call.unpublish("screen");
  }
  const stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true });
  for (const track of stream.getTracks()) call.publish(track, track.kind === "video" ? "screen" : "screen_audio");
}

/** Runs the action of a button and shows its error. */
function runAction(action) {
  $("trouble").hidden = true;
  action.catch((error) => {
    if (error.name === "NotAllowedError") return; // the user cancelled the dialog
    setText($("trouble"), error.detail ?? error.message);
    $("trouble").hidden = false;
  });
}

function prepare() {
  const withToken = hash.has("token");
  $("sign-in").hidden = withToken || Boolean(storedSession());
  $("session-field").hidden = withToken;
  const name = storedSession()?.user.name;
  setText($("lead"), withToken ? "You have a token for this call." : name ? `You are ${name}. People who enter the same name meet.` : "People who enter the same name meet.");
  if (hash.get("session")) $("session").value = hash.get("session");
}

$("entry-form").addEventListener("submit", enter);
$("microphone").addEventListener("click", () => toggle("audio", "microphone"));
$("camera").addEventListener("click", () => toggle("video", "camera"));
$("screen").addEventListener("click", () => runAction(share()));
$("screen").hidden = !navigator.mediaDevices?.getDisplayMedia;
$("leave").addEventListener("click", () => {
  const leaving = call.leave();
  endCall("");
  leaving.catch(() => {}); // the server may be unreachable; we leave anyway
});
addEventListener("resize", draw);
addEventListener("pagehide", () => call?.leave().catch(() => {})); // others should not wait for a closed page
addEventListener("online", () => call?.restart());
prepare();
