"""An aiortc participant: joins a named session, publishes video and a tone, and receives all other tracks.

usage: aiortc_peer.py WS_URL TOKEN SESSION
Prints one JSON line a second with what it has received, until its standard input is closed.
"""

import asyncio
import fractions
import json
import math
import sys

import av
import numpy
import websockets
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import AudioStreamTrack


class MovingSquare(VideoStreamTrack):
    """Video of a moving square."""

    count = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        image = numpy.full((240, 320, 3), 40, numpy.uint8)
        x = self.count * 4 % 280
        image[100:140, x : x + 40] = 255
        self.count += 1
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(AudioStreamTrack):
    """A 440 Hz tone with the timing of the base class."""

    position = 0

    async def recv(self):
        silent = await super().recv()
        n = silent.samples
        wave = [int(8000 * math.sin(2 * math.pi * 440 * (self.position + i) / silent.sample_rate)) for i in range(n)]
        self.position += n
        frame = av.AudioFrame.from_ndarray(numpy.array([wave], numpy.int16), format="s16", layout="mono")
        frame.pts, frame.sample_rate, frame.time_base = silent.pts, silent.sample_rate, fractions.Fraction(1, silent.sample_rate)
        return frame


class CountingTrack(MediaStreamTrack):
    """Forwards a track and counts what it receives."""

    def __init__(self, track):
        super().__init__()
        self.kind, self.track, self.frames, self.energy = track.kind, track, 0, 0.0

    async def recv(self):
        frame = await self.track.recv()
        self.frames += 1
        if self.kind == "audio":
            self.energy += float(numpy.abs(frame.to_ndarray()).mean())
        return frame


class Peer:
    def __init__(self, socket):
        self.socket, self.next_id, self.pending = socket, 1, {}
        configuration = RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self.pc, self.sink = RTCPeerConnection(configuration), MediaBlackhole()
        self.received, self.remote_tracks, self.transceivers = {}, [], {}
        self.changed, self.answer = asyncio.Event(), None

    async def request(self, event, data):
        number, self.next_id = self.next_id, self.next_id + 1
        future = self.pending[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "event": event, "data": data}))
        return await future

    async def read_frames(self):
        async for text in self.socket:
            frame = json.loads(text)
            if "reply" in frame:
                future = self.pending.pop(frame["reply"])
                if "error" in frame:
                    future.set_exception(RuntimeError(frame["error"]))
                else:
                    future.set_result(frame["data"])
            elif frame["event"] == "answer":
                self.answer.set_result(frame["data"]["sdp"])
            elif frame["event"] == "track_published":
                self.remote_tracks.append(frame["data"])
                self.changed.set()

    async def negotiate(self, publish):
        """Sends an offer; each remote track without a transceiver gets one."""
        for track in self.remote_tracks:
            if track["track_id"] not in self.transceivers:
                self.transceivers[track["track_id"]] = self.pc.addTransceiver(track["kind"], direction="recvonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        receive = {transceiver.mid: track for track, transceiver in self.transceivers.items()}
        published = {transceiver.mid: {"source": source} for transceiver, source in publish}
        self.answer = asyncio.get_running_loop().create_future()
        await self.request("offer", {"sdp": self.pc.localDescription.sdp, "publish": published, "receive": receive})
        await self.pc.setRemoteDescription(RTCSessionDescription(await self.answer, "answer"))
        for track, transceiver in self.transceivers.items():
            if track not in self.received:
                self.received[track] = CountingTrack(transceiver.receiver.track)
                self.sink.addTrack(self.received[track])
        await self.sink.start()

    async def run(self, token, session):
        reading = asyncio.create_task(self.read_frames())
        await self.request("authenticate", {"token": token})
        joined = await self.request("join_call", {"sessionId": session})
        self.remote_tracks = joined["tracks"]
        audio = self.pc.addTransceiver(Tone(), direction="sendonly")
        video = self.pc.addTransceiver(MovingSquare(), direction="sendonly")
        publish = [(audio, "microphone"), (video, "camera")]
        await self.negotiate(publish)
        reporting = asyncio.create_task(self.report_stats(joined["participant_id"]))
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        while not ended.done():
            change = asyncio.create_task(self.changed.wait())
            await asyncio.wait({change, asyncio.ensure_future(ended)}, return_when=asyncio.FIRST_COMPLETED)
            if self.changed.is_set():
                self.changed.clear()
                await self.negotiate(publish)
        reporting.cancel()
        reading.cancel()
        await self.pc.close()

    async def report_stats(self, me):
        while True:
            video = sum(t.frames for t in self.received.values() if t.kind == "video")
            energy = sum(t.energy for t in self.received.values() if t.kind == "audio")
            print(json.dumps({"me": me, "state": self.pc.connectionState, "video": video, "energy": energy}), flush=True)
            await asyncio.sleep(1)


async def main():
    url, token, session = sys.argv[1:]
    async with websockets.connect(url, max_size=1 << 20) as socket:
        await Peer(socket).run(token, session)


asyncio.run(main())
